import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients.results.predictions import PredictionResult
from server.schemas.prediction import Prediction
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S, wait_for

VOLATILE = ("id", "timings")


def stable(response):
    """The answer without what may differ between two equal requests."""
    assert response.status_code == 200, response.text
    return {key: value for key, value in response.json().items() if key not in VOLATILE}


def test_form_and_raw_body_give_the_same_answer(served):
    options = {"tasks": ["ar", "lta"], "segments": [[0, 1], [1, 2]], "top_k": 1, "seed": 3}
    form = served.post_form(clip(), options)
    raw = served.post(
        clip(), tasks="ar,lta", segments=["0,1", "1,2"], top_k=1, seed=3, kind="video/mp4"
    )
    octets = served.post(clip(), tasks=["ar", "lta"], segments=["0,1", "1,2"], top_k=1, kind=OCTETS)
    assert stable(form) == stable(raw) == stable(octets)
    assert len(form.json()["segments"]) == 2


OCTETS = "application/octet-stream"


def test_an_answer_is_complete_and_keeps_its_schema(served):
    response = served.post(clip(240, 51))
    answer = Prediction.model_validate_json(response.text, strict=True)
    assert answer.model_dump(mode="json", exclude_none=True) == response.json()
    assert answer.model.sha256 == "a" * 64
    assert (answer.features.window, answer.features.stride, answer.features.count) == (32, 16, 14)
    segment = answer.segments[0]
    assert segment.evidence.neighbours["ar"]["oscc"][0].similarity == 0.9
    assert segment.evidence.votes["ar.verb"] == {"own": "take", "oscc": "put"}
    assert len(segment.pnr.scores) == 16
    assert len(answer.lta.steps) == 20
    assert [len(future) for future in answer.lta.hypotheses] == [20] * 5
    assert answer.lta.evidence is not None


def test_an_answer_round_trips_to_the_client(served):
    values = served.post(b"clip 90 200 25").json()
    result = PredictionResult.from_dict(values)
    ours = Prediction.model_validate(values)
    assert result.input.fps == ours.input.fps == 25.0
    assert result.warnings[0].code == "resampled-from-25fps"
    assert result.segments[0].pnr.scores == ours.segments[0].pnr.scores
    assert result.lta.hypotheses[0][0].verb == "put"
    assert result.timings.total_ms == ours.timings.total_ms
    told = set(PredictionResult.__dataclass_fields__) - {"skills"}  # absent: there are no others
    assert set(values) == told


@pytest.mark.parametrize("tasks", [["ar"], ["lta"], ["oscc", "pnr"]])
def test_only_what_was_asked_for_is_in_the_answer(served, tasks):
    answer = served.post_form(clip(), {"tasks": tasks}).json()
    found = set(answer["segments"][0]) - {"start_s", "end_s", "evidence"}
    assert found | ({"lta"} & set(answer)) == set(tasks)


@pytest.mark.parametrize(
    ("parts", "has_evidence", "has_scores"),
    [(None, 1, 1), ([], 0, 0), (["evidence"], 1, 0), (["scores"], 0, 1)],
)
def test_optional_parts_can_be_left_out(served, parts, has_evidence, has_scores):
    answer = served.post_form(clip(), {} if parts is None else {"return": parts}).json()
    assert ("evidence" in answer["segments"][0]) == has_evidence
    assert ("evidence" in answer["lta"]) == has_evidence
    assert ("scores" in answer["segments"][0]["pnr"]) == has_scores


def test_the_frame_of_a_state_change_is_counted_in_the_file_sent(served):
    body = b"clip 120 90 15"
    answer = served.post(body, segments=["2,4"]).json()
    assert answer["segments"][0]["pnr"] | {"scores": 0, "probability": 0} == {
        "time_s": 2.0,
        "frame": 30,
        "probability": 0,
        "scores": 0,
    }


def test_stage_times_are_in_the_header_too(served):
    response = served.post(clip())
    pairs = (piece.split(";dur=") for piece in response.headers["server-timing"].split(", "))
    timings = response.json()["timings"]
    assert {f"{name}_ms": float(ms) for name, ms in pairs} == timings
    assert sum(ms for name, ms in timings.items() if name != "total_ms") <= timings["total_ms"]
    assert response.headers["cache-control"] == "no-store"


BAD = [
    ({"body": b""}, 400, "malformed-request"),
    ({"body": b"just some text"}, 415, "unsupported-media"),
    ({"body": clip(), "kind": "text/plain"}, 415, "unsupported-media"),
    ({"body": clip(), "kind": "application/json"}, 415, "unsupported-media"),
    ({"body": clip(), "kind": "multipart/form-data"}, 400, "malformed-request"),
    ({"body": b"reject not-a-video"}, 415, "unsupported-media"),
    ({"body": b"reject unsupported-container"}, 415, "unsupported-media"),
    ({"body": b"reject unsupported-codec"}, 422, "codec-not-allowed"),
    ({"body": b"reject no-video-track"}, 422, "no-video-stream"),
    ({"body": b"reject too-many-pixels"}, 422, "too-many-pixels"),
    ({"body": b"reject too-long"}, 422, "too-long-for-sync"),
    ({"body": b"reject too-many-frames"}, 422, "too-long-for-sync"),
    ({"body": b"reject damaged"}, 422, "undecodable-video"),
    ({"body": b"reject too-short"}, 422, "too-short"),
    ({"body": b"die"}, 422, "undecodable-video"),
    ({"body": b"unavailable"}, 503, "decoder-unavailable"),
    ({"body": b"timeout 0.01"}, 503, "decoder-unavailable"),
    ({"body": b"timeout 9", "timeout_s": 0.1}, 504, "deadline-exceeded"),
    ({"body": b"slow 0.3", "timeout_s": 0.05}, 504, "deadline-exceeded"),
    ({"body": b"bug"}, 500, "internal"),
    ({"body": b"x" * 2_000_000}, 413, "body-too-large"),
    pytest.param({"body": iter([b"x" * 600_000] * 3)}, 413, "body-too-large", id="body-in-chunks"),
    ({"body": clip(), "tasks": "dance"}, 422, "invalid-field"),
    ({"body": clip(), "segments": "0,99"}, 422, "invalid-field"),
    ({"body": clip(), "segments": "2,1"}, 422, "invalid-field"),
    ({"body": clip(), "segments": "x"}, 422, "invalid-field"),
    ({"body": clip(), "taks": "ar"}, 422, "invalid-field"),
    ({"body": clip(), "top_k": 0}, 422, "invalid-field"),
    ({"body": clip(), "timeout_s": 3600}, 422, "invalid-field"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "status", "code"), BAD, ids=lambda v: str(v)[:40])
def test_a_bad_request_is_refused_as_a_problem_and_the_next_one_is_answered(
    serve, call, status, code
):
    served = serve(max_upload_mb=1)
    assert_problem(served.post(**call), status, code)
    assert served.spooled() == []
    assert stable(served.post(clip()))
    assert served.spooled() == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"tasks": ["ar", "dance"]}, "/tasks"),
        ({"segments": [[0, 1], [1, 99]]}, "/segments/1"),
        ({"colour": 1}, "/colour"),
        ({"tasks": []}, "/tasks"),
        ({"return": ["all"]}, "/return/0"),
    ],
)
def test_a_wrong_field_of_a_form_is_pointed_at(served, options, where):
    problem = assert_problem(served.post_form(clip(), options), 422, "invalid-field")
    assert [error["pointer"] for error in problem["errors"]] == [where]


def test_an_unknown_task_is_answered_with_the_known_ones(served):
    problem = assert_problem(served.post(clip(), tasks="dance"), 422, "invalid-field")
    assert "ar, lta, oscc, pnr" in problem["detail"]


def test_choices_in_both_places_are_refused(served):
    files = {"video": ("a", clip()), "request": (None, "{}")}
    response = served.http.post("/v1/predictions", params={"top_k": 3}, files=files)
    assert_problem(response, 422, "invalid-field")
    alone = served.http.post("/v1/predictions", params={"top_k": 1}, files={"video": ("a", clip())})
    assert len(alone.json()["segments"][0]["ar"]["verb"]) == 1


def test_a_refused_size_names_the_limit(serve):
    served = serve(max_upload_mb=1)
    problem = assert_problem(served.post(b"x" * 1_100_000), 413, "body-too-large")
    assert problem["limits"] == {"max_upload_bytes": 2**20}


def test_a_full_server_says_when_to_come_back(serve):
    served = serve(max_requests=1)
    gate = threading.Event()
    served.pool.hold = lambda: gate.wait(PATIENCE_S)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.post, clip())
        wait_for(served.spooled)
        refused = served.post(clip())
        problem = assert_problem(refused, 429, "queue-full")
        assert problem["retryable"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        gate.set()
        assert first.result().status_code == 200
    assert served.post(clip()).status_code == 200


def test_two_callers_at_once_share_a_batch_and_get_the_answers_they_get_alone(serve):
    served = serve(max_wait_ms=300)
    bodies = [clip(240, 10), clip(120, 200)]
    alone = [stable(served.post(body)) for body in bodies]
    barrier = threading.Barrier(2)
    served.pool.hold = lambda: barrier.wait(PATIENCE_S)
    served.predictor.batches.clear()
    with ThreadPoolExecutor(2) as pool:
        together = [stable(r) for r in pool.map(served.post, bodies)]
    assert served.predictor.batches == [2]
    assert together == alone


def test_a_caller_that_hangs_up_is_dropped(served):
    """Drives the app itself: the body arrives, then the connection closes."""
    gate = threading.Event()
    served.pool.hold = lambda: gate.wait(PATIENCE_S)
    batches = len(served.predictor.batches)

    async def call():
        messages = [{"type": "http.request", "body": clip(), "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not served.engine._feature_stage.decoding:
                await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def send(_):
            pass

        await served.transport.app(
            {
                "type": "http",
                "method": "POST",
                "path": "/v1/predictions",
                "query_string": b"",
                "headers": [(b"content-type", b"video/mp4")],
            },
            receive,
            send,
        )

    served.transport.run(call())
    assert served.spooled() == []
    gate.set()
    assert served.post(clip()).status_code == 200
    assert len(served.predictor.batches) == batches + 1


def test_models_taxonomy_and_limits_say_what_is_served(served):
    models = served.http.get("/v1/models").json()["models"]
    assert [m["name"] for m in models] == ["fake"]
    assert models[0]["tasks"] == ["ar", "lta", "oscc", "pnr"]
    assert served.http.get("/v1/models/fake").json() == models[0]
    assert_problem(served.http.get("/v1/models/other"), 404, "not-found")
    spaces = served.http.get("/v1/taxonomy").json()["label_spaces"]
    assert {name: spaces[name] for name in ("verb", "noun")} == {
        "verb": ["take", "put"],
        "noun": ["cup", "knife"],
    }
    answered = {space for skill in models[0]["skills"].values() for space in skill["outputs"]}
    assert answered == set(spaces)
    assert models[0]["encoder"]["contract"]["window_frames"] == 32
    assert served.http.get("/v1/limits").json()["max_upload_bytes"] == 256 * 2**20


def test_the_model_runs_once_for_all_tasks_of_a_request(served):
    def passes():
        return served.http.get("/v1/models/fake").json()["backbone_passes"]

    before = passes()
    served.post(clip())
    assert passes() == before + 1
