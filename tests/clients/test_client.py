import httpx
import pytest

import clients.client
from clients.client import EgoPackClient
from clients.errors import Busy, Rejected, ServerFault, Unreachable
from extract.store import FeatureStore
from server.app import create_app
from tests.server.fakes import clip, make_engine, make_settings
from tests.server.in_process import AppTransport


@pytest.fixture
def clip_path(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(120, 51))
    return path


@pytest.fixture
def client(tmp_path):
    """A client of the real app with a fake model."""
    settings = make_settings(spool_dir=tmp_path / "spool", api_key="sesame")
    transport = AppTransport(create_app(settings, make_engine(settings)))
    transport.start()
    with EgoPackClient("http://test", api_key="sesame", transport=transport) as made:
        made.wait_ready(10)
        yield made
    transport.stop()


@pytest.fixture
def naps(monkeypatch):
    """Replaces sleeping by a list of how long it would have been."""
    slept = []
    monkeypatch.setattr(clients.client.time, "sleep", slept.append)
    return slept


def mocked(handler, **options):
    return EgoPackClient("http://test", transport=httpx.MockTransport(handler), **options)


def problem(status, code="queue-full", **headers):
    body = {"detail": "why", "code": code, "request_id": "r", "errors": []}
    return httpx.Response(status, json=body, headers=headers)


def test_a_clip_is_answered(client, clip_path):
    result = client.predict(
        clip_path, tasks=["ar", "oscc"], segments=[(0, 2), (2, 4)], top_k=1, parts=["evidence"]
    )
    assert [(s.start_s, s.end_s) for s in result.segments] == [(0.0, 2.0), (2.0, 4.0)]
    assert result.segments[0].oscc.probability == pytest.approx(0.2)
    assert len(result.segments[0].ar.verb) == 1
    assert result.segments[0].pnr is None
    assert result.lta is None


def test_features_come_as_a_file_of_the_store(client, clip_path, tmp_path):
    (tmp_path / "kept.safetensors").write_bytes(client.features(clip_path))
    assert FeatureStore(tmp_path).read("kept").num_frames == 120
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(Rejected) as caught:
        client.features(clip_path)
    assert caught.value.code == "undecodable-video"


def test_the_backpack_is_searched_for_a_clip_and_for_an_action(client, clip_path):
    found = client.search(clip_path, segments=[(0, 2), (2, 4)], perspectives=["pnr"], top_k=2)
    assert [(m.start_s, m.end_s) for m in found.matches] == [(0.0, 2.0), (2.0, 4.0)]
    assert [len(near) for near in found.matches[1].perspectives.values()] == [2]
    (match,) = client.search_action("take", "cup", top_k=1).matches
    assert match.start_s is None
    assert match.perspectives["oscc"][0].noun == "cup"
    with pytest.raises(Rejected):
        client.search_action("take", "moon")


def test_models_limits_and_taxonomy_are_told(client):
    assert client.models()[0].name == "fake"
    assert client.limits().max_duration_s == 64.0
    assert client.taxonomy()["noun"] == ["cup", "knife"]


def test_a_refused_field_is_named(client, clip_path):
    with pytest.raises(Rejected) as caught:
        client.predict(clip_path, tasks=["dance"])
    assert (caught.value.status, caught.value.code) == (422, "invalid-field")
    assert caught.value.errors[0][0] == "/tasks"
    assert caught.value.request_id


def test_a_refused_clip_is_not_sent_again(client, clip_path):
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(Rejected, match="a plain sentence"):
        client.predict(clip_path)


def test_a_clip_that_is_not_there_is_an_ordinary_error(client, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.predict(tmp_path / "none.mp4")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(naps, clip_path, answer, status):
    replies = [problem(status, **{"retry-after": "7"}), problem(status), None]
    bodies = []

    def handler(request):
        bodies.append(len(request.read()))
        return replies.pop(0) or httpx.Response(200, json=answer)

    with mocked(handler) as client:
        assert client.predict(clip_path).id == answer["id"]
    assert naps == [7.0, 1.0]
    assert len(set(bodies)) == 1  # the clip was sent whole each time


def test_it_does_not_ask_for_ever(naps, clip_path):
    with mocked(lambda _: problem(429), max_retries=2) as client, pytest.raises(Busy):
        client.predict(clip_path)
    assert len(naps) == 2


def test_a_wait_beyond_reason_is_not_waited(naps, clip_path):
    reply = problem(503, **{"retry-after": "86400"})
    with mocked(lambda _: reply) as client, pytest.raises(Busy):
        client.predict(clip_path)
    assert naps == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem(500), ServerFault),
        (problem(504), ServerFault),
        (problem(401), Rejected),
        (httpx.Response(502, text="<html>"), ServerFault),
        (httpx.Response(200, text="<html>"), ServerFault),
        (httpx.Response(200, json=[1]), ServerFault),
        (httpx.Response(200, json={"id": 1}), ServerFault),
    ],
)
def test_other_replies_become_the_right_error(clip_path, reply, error):
    with mocked(lambda _: reply) as client, pytest.raises(error):
        client.predict(clip_path)


@pytest.mark.parametrize("cause", [httpx.ConnectError("no"), httpx.ReadTimeout("slow")])
def test_no_answer_is_unreachable(clip_path, cause):
    def handler(_):
        raise cause

    with mocked(handler) as client, pytest.raises(Unreachable):
        client.predict(clip_path)


def test_waiting_for_readiness_ends(naps):
    replies = [problem(503, "starting")] * 3 + [httpx.Response(200, json={"status": "ready"})]
    with mocked(lambda _: replies.pop(0)) as client:
        client.wait_ready(60)
    assert len(naps) == 3
    with mocked(lambda _: problem(503, "starting")) as client, pytest.raises(Busy):
        client.wait_ready(0)


def test_the_key_is_sent_as_a_bearer_token(clip_path, answer):
    def handler(request):
        assert request.headers["authorization"] == "Bearer k"
        return httpx.Response(200, json=answer)

    with mocked(handler, api_key="k") as client:
        client.predict(clip_path)


def test_the_name_of_the_file_is_not_sent(clip_path, answer):
    secret = clip_path.rename(clip_path.with_name("my-private-life.mp4"))

    def handler(request):
        assert b"private" not in request.read()
        return httpx.Response(200, json=answer)

    with mocked(handler) as client:
        client.predict(secret)
