import httpx
import pytest

from clients.errors import Busy
from tests.clients.support.replies import problem


def test_a_clip_is_answered(client, clip_path):
    result = client.predict(
        clip_path, tasks=["ar", "oscc"], segments=[(0, 2), (2, 4)], top_k=1, parts=["evidence"]
    )
    assert [(s.start_s, s.end_s) for s in result.segments] == [(0.0, 2.0), (2.0, 4.0)]
    assert result.segments[0].oscc.probability == pytest.approx(0.2)
    assert len(result.segments[0].ar.verb) == 1
    assert result.segments[0].pnr is None
    assert result.lta is None


def test_a_clip_that_is_not_there_is_an_ordinary_error(client, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.predict(tmp_path / "none.mp4")


def test_waiting_for_readiness_ends(mocked, naps):
    replies = [problem(503, "starting")] * 3 + [httpx.Response(200, json={"status": "ready"})]
    with mocked(lambda _: replies.pop(0)) as client:
        client.wait_ready(60)
    assert len(naps) == 3
    with mocked(lambda _: problem(503, "starting")) as client, pytest.raises(Busy):
        client.wait_ready(0)


def test_the_name_of_the_file_is_not_sent(mocked, clip_path, answer):
    secret = clip_path.rename(clip_path.with_name("my-private-life.mp4"))

    def handler(request):
        assert b"private" not in request.read()
        return httpx.Response(200, json=answer)

    with mocked(handler) as client:
        client.predict(secret)
