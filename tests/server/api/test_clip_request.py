"""A caller who hangs up is dropped, whatever stage the request is in and whatever was asked."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from extract.features.track_file import track_bytes
from server.scheduling.batcher import Priority
from tests.server.support.fakes import clip
from tests.support.factories import make_track
from tests.support.waiting import PATIENCE_S, wait_until

VIDEO, TRACK = "video/mp4", "application/x-safetensors"
DOORS = ["/v1/predictions", "/v1/features", "/v1/backpack/search"]


def leave(served, path, body, kind, *, when, accept="*/*", ends=True):
    """Sends a body, hangs up once `when` is true, and returns what was sent back."""
    sent = []

    async def main():
        messages = [{"type": "http.request", "body": body, "more_body": not ends}]

        async def receive():
            if messages:
                return messages.pop()
            await wait_until(when)
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", kind.encode()), (b"accept", accept.encode())]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
        await served.transport.app(scope | {"headers": headers}, receive, send)

    before = served.spooled()
    served.transport.run(main())
    assert served.spooled() == before
    return sent


def features(served):
    return track_bytes(make_track(240, encoder=served.predictor.encoder, width=4))


@contextmanager
def model_held(served):
    """Keeps the model's thread busy with somebody else's request."""
    gate, held = threading.Event(), threading.Event()

    def hold():
        held.set()
        gate.wait(PATIENCE_S)

    served.predictor.before_predict = hold
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(served.post, features(served), kind=TRACK)
        assert held.wait(PATIENCE_S)
        try:
            yield
        finally:
            served.predictor.before_predict = lambda: None
            gate.set()
            assert other.result().status_code == 200


def assert_dropped(sent):
    """Nobody was there: at most a status for the log was given."""
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] in ([], [499])


@pytest.mark.parametrize("path", [*DOORS, "/v2/models/fake/infer"])
def test_while_the_body_arrives(served, path):
    sent = leave(served, path, b"clip 2", VIDEO, when=lambda: True, ends=False)
    assert_dropped(sent)
    assert served.engine.admission.requests == 0
    assert served.pool.decoded == 0


@pytest.mark.parametrize("path", DOORS)
def test_while_the_clip_is_decoded(served, path):
    gate = threading.Event()
    served.pool.hold = lambda: gate.wait(PATIENCE_S)
    sent = leave(served, path, clip(), VIDEO, when=lambda: served.engine._feature_stage.decoding)
    gate.set()
    assert_dropped(sent)
    assert served.engine.admission.requests == served.engine._feature_stage.decoding == 0
    served.predictor.encoder.batches.clear()
    assert served.post(clip()).status_code == 200
    assert served.predictor.encoder.batches == [3]


@pytest.mark.parametrize("path", DOORS)
def test_while_its_windows_wait_for_the_encoder(serve, path):
    served = serve(max_batch_windows=4)
    waiting = served.engine._model._features._queues[Priority.HIGH]
    with model_held(served):
        served.predictor.encoder.batches.clear()
        # Four windows are on their way to the thread already; the ten after them are dropped.
        sent = leave(served, path, clip(240), VIDEO, when=lambda: len(waiting) == 3)
        assert_dropped(sent)
    assert sum(served.predictor.encoder.batches) <= 4
    assert served.post(clip()).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_while_the_answer_waits_for_the_model(served, accept):
    waiting = served.engine._model._reason._queues[Priority.HIGH]
    with model_held(served):
        served.predictor.batches.clear()
        body = features(served)
        sent = leave(served, DOORS[0], body, TRACK, accept=accept, when=lambda: len(waiting) > 0)
    text = b"".join(message.get("body", b"") for message in sent)
    assert b"completed" not in text
    assert b"segments" not in text
    assert served.post(clip()).status_code == 200
    assert served.predictor.batches == [1, 1]  # the one that held it, and the one just now


def test_while_a_search_waits_for_the_model(served):
    searches, search = [], served.predictor.search
    served.predictor.search = lambda *asked: searches.append(asked) or search(*asked)
    waiting = served.engine._model._thread._work_queue
    with model_held(served):
        leave(served, DOORS[2], features(served), TRACK, when=lambda: waiting.qsize() > 0)
    assert served.post(clip()).status_code == 200
    assert searches == []
