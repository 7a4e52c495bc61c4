"""Progress while the caller waits."""

import asyncio
import json
import threading

import pytest

from server.api.events.sse import EventStream
from server.schemas.metadata import Health
from server.schemas.prediction import ProblemBody
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip

STREAM = {"content-type": "video/mp4", "accept": "text/event-stream"}


def stream(served, body, **query):
    return served.http.post("/v1/predictions", content=body, params=query, headers=STREAM)


def events_of(text):
    """(event, data) pairs, read as the HTML standard says."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_every_stage_is_told_of_and_the_answer_comes_last(serve):
    served = serve(max_batch_windows=4)
    response = stream(served, clip(240), tasks="ar")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    *told, (last, answer) = events_of(response.text)
    assert {name for name, _ in told} == {"progress"}
    steps = [(data["stage"], data["windows_done"], data["windows_total"]) for _, data in told]
    assert steps == [
        ("received", 0, 0),
        ("decoded", 0, 14),
        *(("features", done, 14) for done in (4, 8, 12, 14)),
        ("reasoning", 14, 14),
    ]
    assert last == "completed"
    whole = served.post(clip(240), tasks="ar").json()
    volatile = {"id": "", "timings": {}}
    assert answer | volatile == whole | volatile
    assert served.spooled() == []


def test_a_failure_under_way_is_the_last_event(served):
    *told, (last, problem) = events_of(stream(served, b"reject damaged").text)
    assert [data["stage"] for _, data in told] == ["received"]
    assert last == "error"
    assert ProblemBody.model_validate(problem).code == "undecodable-video"
    assert "/tmp" not in json.dumps(problem)
    *_, (last, problem) = events_of(stream(served, b"bug").text)
    assert (last, problem["code"]) == ("error", "internal")
    assert "secret" not in json.dumps(problem)


def test_a_failure_before_the_first_event_is_a_problem(served):
    assert_problem(stream(served, b""), 400, "malformed-request")
    assert_problem(stream(served, clip(), taks="ar"), 422, "invalid-field")
    headers = STREAM | {"accept": "text/html"}
    response = served.http.post("/v1/predictions", content=clip(), headers=headers)
    assert_problem(response, 406, "not-acceptable")
    served.engine.life.drain()
    assert_problem(stream(served, clip()), 503, "draining")


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "*/*", "application/*"])
def test_who_accepts_json_as_gladly_gets_json(served, accept):
    headers = STREAM | {"accept": accept}
    response = served.http.post("/v1/predictions", content=clip(), headers=headers)
    assert response.headers["content-type"] == "application/json"


def run(work, *, heartbeat_s=15.0):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("the work looks after its caller")

    async def main():
        answer = EventStream(work, lambda error: Health(status="alive"), heartbeat_s=heartbeat_s)
        await answer({"type": "http"}, receive, send)

    asyncio.run(main())
    kinds = [message["type"] for message in sent]
    assert kinds == ["http.response.start"] + ["http.response.body"] * (len(sent) - 1)
    assert [m["more_body"] for m in sent[1:]] == [True] * (len(sent) - 2) + [False]
    return b"".join(message.get("body", b"") for message in sent).decode()


def test_a_silent_stream_beats():
    async def work(post):
        post("progress", Health(status="ready"))
        await asyncio.sleep(0.1)
        return Health(status="ready")

    assert run(work, heartbeat_s=0.02).count(": ping\n\n") >= 2
    assert ": ping" not in run(work)


def test_work_that_posts_nothing_still_completes():
    async def work(post):
        return Health(status="ready")

    assert events_of(run(work)) == [("completed", {"status": "ready"})]


def test_a_connection_that_breaks_stops_the_work():
    stopped = threading.Event()

    async def work(post):
        post("progress", Health(status="ready"))
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return Health(status="ready")

    async def main():
        async def send(message):
            raise OSError("broken pipe")

        answer = EventStream(work, lambda error: Health(status="alive"))
        with pytest.raises(OSError, match="broken"):
            await answer({"type": "http"}, None, send)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert stopped.is_set()
