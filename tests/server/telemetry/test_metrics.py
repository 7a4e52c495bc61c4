import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

from server import problem_types as kinds
from server.problem_types import ProblemType
from server.telemetry.metrics import Metrics, reason_of
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S

OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
LABELS = {
    "endpoint",
    "outcome",
    "reason",
    "stage",
    "queue",
    "flush",
    "result",
    "device",
    "kind",
    "name",
    "version",
    "sha256",
    "state",
    "le",
}
KINDS = [value for value in vars(kinds).values() if isinstance(value, ProblemType)]


class Page:
    """/metrics, as a scraper reads it."""

    def __init__(self, http):
        response = http.get("/metrics", headers=OPENMETRICS)
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        self.families = list(parse(response.text))

    def __getitem__(self, key):
        name, labels = key if isinstance(key, tuple) else (key, {})
        found = [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= labels.items()
        ]
        return sum(found)


def test_known_traffic_is_counted(served):
    before = Page(served.http)
    bodies = [clip(240), clip(60), b"reject damaged", b"reject too-long", b"die", b"bug", b""]
    for body in bodies:
        served.post(body)
    served.post(b"slow 0.2", timeout_s=0.05)
    served.http.get("/v1/nothing/of-this-name")
    page = Page(served.http)

    def grown(name, **labels):
        return page[name, labels] - before[name, labels]

    mine = {"endpoint": "create_prediction"}
    outcomes = {
        o: grown("egopack_requests_total", outcome=o, **mine)
        for o in ("ok", "decode", "backend", "timeout", "other", "rejected", "canceled")
    }
    assert outcomes == {
        "ok": 2, "decode": 3, "backend": 1, "timeout": 1, "other": 1, "rejected": 0, "canceled": 0,
    }  # fmt: skip
    assert grown("egopack_request_duration_seconds_count", **mine) == 8
    assert grown("egopack_requests_total", endpoint="none", outcome="other") == 1
    assert grown("egopack_windows_total") == 14 + 3
    assert grown("egopack_batch_windows_count") == 2
    assert grown("egopack_batches_total", queue="reason") == 2
    assert grown("egopack_decoded_frames_total") >= 300
    assert grown("egopack_decode_failures_total", reason="corrupt") == 1
    assert grown("egopack_decode_failures_total", reason="limits") == 1
    assert grown("egopack_decode_failures_total", reason="crash") == 1
    assert grown("egopack_decoder_restarts_total", reason="crash") == 2
    assert grown("egopack_received_bytes_total") == sum(map(len, bodies)) + len(b"slow 0.2")
    for stage, count in {"receive": 8, "decode": 2, "features": 2, "reason": 2, "queue": 2}.items():
        assert grown("egopack_stage_duration_seconds_count", stage=stage) == count
    assert page["egopack_ready"] == 1
    assert page["egopack_model_info", {"name": "fake"}] == 1


def test_what_is_inside_is_shown_while_it_is(serve):
    served = serve(max_requests=2)
    gate = threading.Event()
    served.pool.hold = lambda: gate.wait(PATIENCE_S)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.post, clip())
        while not served.engine._feature_stage.decoding:
            pass
        page = Page(served.http)
        gate.set()
        first.result()
    assert page["egopack_inflight_requests"] == 1
    assert page["egopack_queued_windows"] > 0
    assert page["egopack_spool_bytes"] == len(clip())
    after = Page(served.http)
    for gauge in ("inflight_requests", "queued_windows", "spool_bytes", "queue_depth"):
        assert after[f"egopack_{gauge}"] == 0


def test_labels_are_few_and_hold_no_path_id_or_caller(serve):
    served = serve(api_keys={"robot": "k1"})
    key = {"x-api-key": "k1"}
    for path in ("/v1/models/secret-name", "/v1/other", "/%2e%2e/etc"):
        served.http.get(path, headers={**key, "x-request-id": "id-of-mine"})
    page = served.http.get("/metrics", headers={**key, **OPENMETRICS}).text
    names = {n for labels in re.findall(r"{(.*?)}", page) for n in re.findall(r'(\w+)="', labels)}
    assert names <= LABELS
    for secret in ("secret-name", "id-of-mine", "robot", "k1", "etc", "/"):
        values = [
            v for labels in re.findall(r"{(.*?)}", page) for v in re.findall('"(.*?)"', labels)
        ]
        assert not any(secret in value for value in values), secret


def test_durations_are_told_apart_up_to_three_minutes():
    metrics = Metrics()
    metrics.request_s.labels("x").observe(150)
    page, _ = metrics.render("")
    assert b'le="120.0"} 0.0' in page
    assert b'le="180.0"} 1.0' in page


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_every_problem_has_one_of_six_reasons(kind):
    reason = reason_of(kind.status, kind)
    assert reason in {"rejected", "canceled", "timeout", "decode", "backend", "other"}
    assert (reason == "timeout") == (kind.status == 504)
    assert kind.status != 429 or reason == "rejected"
    assert kind.status != 500 or reason == "backend"


def test_metrics_ask_for_a_key_unless_told_otherwise(serve):
    assert serve(api_key="k").http.get("/metrics").status_code == 401
    assert serve(api_key="k", open_metrics=True).http.get("/metrics").status_code == 200
    assert serve(metrics_port=0).http.get("/metrics").status_code == 404
