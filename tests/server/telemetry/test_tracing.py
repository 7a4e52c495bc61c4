import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan

from server.api.app import create_app
from server.telemetry.telemetry import Telemetry
from server.telemetry.tracing import ENDPOINT, Tracing, trace_id
from tests.server.conftest import Served
from tests.server.support.fakes import FakePool, FakePredictor, clip, make_engine, make_settings
from tests.server.support.in_process import AppTransport
from tests.support.waiting import PATIENCE_S

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = ["receive", "queue", "decode", "features", "reason"]


@pytest.fixture
def traced(tmp_path):
    """An app whose spans stay in memory."""
    exporter = InMemorySpanExporter()
    settings = make_settings(spool_dir=tmp_path / "spool", max_wait_ms=300)
    predictor, pool = FakePredictor(), FakePool()
    telemetry = Telemetry(tracing=Tracing(SimpleSpanProcessor(exporter)))
    engine = make_engine(settings, predictor, pool, telemetry)
    transport = AppTransport(create_app(settings, engine))
    transport.start()
    with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as http:
        served = Served(http, transport, engine, predictor, pool, tmp_path / "spool")
        served.wait_ready()
        exporter.clear()
        yield served, exporter
    transport.stop()


def test_a_request_is_a_child_of_its_callers_span_and_the_parent_of_its_stages(traced):
    served, exporter = traced
    headers = {"content-type": "video/mp4", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    served.http.post("/v1/predictions", content=clip(), headers=headers)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request = spans["POST create_prediction"]
    assert format(request.context.trace_id, "032x") == TRACE
    assert format(request.parent.span_id, "016x") == SPAN
    assert request.attributes["http.response.status_code"] == 200
    for stage in STAGES:
        span = spans[f"egopack.{stage}"]
        assert span.context.trace_id == request.context.trace_id
        assert span.parent.span_id == request.context.span_id
        assert 0 <= span.end_time - span.start_time <= request.end_time - request.start_time + 1e6


def test_a_batch_is_linked_to_the_requests_in_it(traced):
    served, exporter = traced
    barrier = threading.Barrier(2)
    served.pool.hold = lambda: barrier.wait(PATIENCE_S)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(served.post, [clip(60), clip(90)]))
    spans = exporter.get_finished_spans()
    requests = {s.context.span_id for s in spans if s.name == "POST create_prediction"}
    batch = next(s for s in spans if s.name == "egopack.batch.features")
    assert {link.context.span_id for link in batch.links} == requests
    assert len(requests) == 2
    assert batch.parent is None
    assert batch.attributes["requests"] == 2


def test_a_refusal_is_named_in_its_span_without_what_was_sent(traced):
    served, exporter = traced
    served.post(b"reject damaged")
    span = exporter.get_finished_spans()[-1]
    assert span.attributes["egopack.problem"] == "undecodable-video"
    assert span.attributes["http.response.status_code"] == 422


def test_a_nonsense_traceparent_is_not_believed(traced):
    served, exporter = traced
    served.http.get("/livez", headers={"traceparent": "00-zzz"})
    assert exporter.get_finished_spans()[-1].parent is None


def test_without_an_endpoint_there_are_no_spans(monkeypatch):
    monkeypatch.delenv(ENDPOINT, raising=False)
    tracing = Tracing.from_environment()
    assert not tracing.is_on
    with tracing.request("x", {"traceparent": f"00-{TRACE}-{SPAN}-01"}) as span:
        assert isinstance(span, NonRecordingSpan)
        assert trace_id() is None
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    tracing = Tracing.from_environment()
    assert tracing.is_on
    tracing.close()
