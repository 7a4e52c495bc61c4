import json

import httpx
import pytest

from clients.label_studio.clips import MAX_REDIRECTS, Clips
from tests.clients.label_studio.studio import ask, backend


def test_a_clip_larger_than_the_server_takes_is_not_fetched_to_its_end(answer):
    def endless():
        for _ in range(10**6):
            yield b"x" * 100
        raise AssertionError("read to the end")

    with backend(answer, lambda _: httpx.Response(200, content=endless())) as http:
        assert ask(http, "/large.mp4").json()["results"] == [{"result": [], "score": 0.0}]


def test_a_personal_token_is_traded_for_a_pass_and_again_when_that_has_run_out(tmp_path):
    passes = iter(["one", "two", "three"])
    valid: list[str] = []
    asked = []

    def studio(request):
        asked.append(request.url.path)
        if request.url.path == "/here/api/token/refresh/":
            assert json.loads(request.read()) == {"refresh": "a.b.c"}
            assert "authorization" not in request.headers
            valid[:] = [next(passes)]
            return httpx.Response(200, json={"access": valid[0]})
        is_valid = request.headers.get("authorization") in [f"Bearer {one}" for one in valid]
        return httpx.Response(200, content=b"a clip") if is_valid else httpx.Response(401)

    transport = httpx.MockTransport(studio)
    with Clips("http://studio/here", token="a.b.c", max_bytes=9, transport=transport) as clips:
        for _ in range(2):
            with clips.fetched("/clip.mp4") as path:
                assert path.read_bytes() == b"a clip"
        valid.clear()
        with clips.fetched("/clip.mp4") as path:
            assert path.read_bytes() == b"a clip"
    renewal = "/here/api/token/refresh/"
    assert asked == [renewal, *["/clip.mp4"] * 3, renewal, "/clip.mp4"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://127.0.0.1/x", "internal"),
        ("http://[::1]/x", "internal"),
        ("http://[::ffff:127.0.0.1]/x", "internal"),
        ("http://169.254.169.254/latest/meta-data", "internal"),
        ("http://0.0.0.0/x", "internal"),
        ("ftp://10.0.0.1/x", "not followed"),
        ("/clip.mp4", "edirect"),  # to itself, without end
    ],
)
def test_a_redirect_leads_nowhere_that_only_this_machine_can_reach(target, why):
    asked = []

    def studio(request):
        asked.append(request.url)
        return httpx.Response(302, headers={"Location": target})

    transport = httpx.MockTransport(studio)
    with (
        Clips("http://studio", token="t", max_bytes=9, transport=transport) as clips,
        pytest.raises(OSError, match=why),
        clips.fetched("/clip.mp4"),
    ):
        pass
    assert {url.host for url in asked} == {"studio"}
    assert len(asked) <= 1 + MAX_REDIRECTS


@pytest.mark.parametrize("target", ["http://10.1.2.3:9000/store", "http://studio:9000/store"])
def test_a_redirect_to_where_the_clips_are_kept_is_followed_without_the_token(target):
    def studio(request):
        if request.url.port == 9000:
            assert "authorization" not in request.headers
            return httpx.Response(200, content=b"a clip")
        return httpx.Response(302, headers={"Location": target})

    transport = httpx.MockTransport(studio)
    with (
        Clips("http://studio", token="t", max_bytes=9, transport=transport) as clips,
        clips.fetched("/clip.mp4") as path,
    ):
        assert path.read_bytes() == b"a clip"


def test_a_clip_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr("clients.label_studio.clips.DOWNLOAD_S", -1.0)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"x"))
    with (
        Clips("http://studio", token="t", max_bytes=9, transport=transport) as clips,
        pytest.raises(OSError, match="longer than"),
        clips.fetched("/clip.mp4"),
    ):
        pass


@pytest.mark.parametrize("token", ["old", "a.b.c", None])
def test_a_token_that_is_not_taken_is_named(token):
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    with (
        Clips("http://studio", token=token, max_bytes=9, transport=transport) as clips,
        pytest.raises(OSError, match="LABEL_STUDIO_API_KEY"),
        clips.fetched("/clip.mp4"),
    ):
        pass
