from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clients.api.transport
from clients.client import EgoPackClient
from clients.errors import (
    BadClip,
    Busy,
    ClientError,
    KeyRefused,
    NotFound,
    Rejected,
    ServerFault,
    TimedOut,
    Unreachable,
)
from clients.results.predictions import Progress
from extract.features.store import FeatureStore
from server.api.app import create_app
from tests.clients.awaited import Awaited
from tests.server.fakes import clip, make_engine, make_settings
from tests.server.in_process import AppTransport

JSON = st.none() | st.booleans() | st.integers() | st.text()
KEYS = st.sampled_from(["code", "detail", "errors", "limits", "request_id", "title"])


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

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(clients.api.transport.time, "sleep", slept.append)
    monkeypatch.setattr(clients.api.transport.asyncio, "sleep", sleep)
    return slept


@pytest.fixture(params=[EgoPackClient, Awaited])
def mocked(request):
    """Makes a client, of either kind, whose server is a function."""

    def make(handler, **options):
        return request.param("http://test", transport=httpx.MockTransport(handler), **options)

    return make


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


def test_features_stand_in_for_the_clip_they_are_of(client, clip_path, tmp_path):
    track = client.features(clip_path)
    (tmp_path / "track.safetensors").write_bytes(track)
    of_clip = client.predict(clip_path, seed=3)
    assert of_clip.input is not None
    for features in (track, tmp_path / "track.safetensors"):
        of_track = client.predict(features=features, seed=3)
        assert (of_track.segments, of_track.lta) == (of_clip.segments, of_clip.lta)
        assert of_track.input is None
        assert (of_track.duration_s, of_track.fps) == (of_clip.duration_s, 30.0)
        assert client.search(features=features).matches == client.search(clip_path).matches
    with pytest.raises(BadClip):
        client.predict(features=b"no track")


def test_a_stream_tells_how_far_it_is_and_then_the_answer(client, clip_path):
    *told, answer = client.stream(clip_path, tasks=["oscc"])
    assert [one.stage for one in told][0] == "received"
    assert all(isinstance(one, Progress) for one in told)
    assert told[-1].windows_done == told[-1].windows_total > 0
    assert answer.segments == client.predict(clip_path, tasks=["oscc"]).segments
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(BadClip):
        list(client.stream(clip_path))


def test_one_model_is_asked_for_by_its_name(client):
    assert client.model("fake") == client.models()[0]
    with pytest.raises(NotFound):
        client.model("a name/with a slash")


def test_a_clip_or_its_features_are_sent_and_never_both_or_what_we_do_not_know(client, clip_path):
    for wrong in ({}, {"clip": clip_path, "features": b""}, {"clip": clip_path, "taks": ["ar"]}):
        with pytest.raises(TypeError):
            client.predict(**wrong)


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
def test_a_busy_server_is_asked_again_when_it_says(mocked, naps, clip_path, answer, status):
    replies = [problem(status, **{"retry-after": "7"}), problem(status), None]
    bodies = []

    def handler(request):
        bodies.append(len(request.read()))
        return replies.pop(0) or httpx.Response(200, json=answer)

    with mocked(handler) as client:
        assert client.predict(clip_path).id == answer["id"]
    assert 7 <= naps[0] <= 7 * 1.25
    assert 1 <= naps[1] <= 1.25
    assert len(set(bodies)) == 1  # the clip was sent whole each time


def test_it_does_not_ask_for_ever(mocked, naps, clip_path):
    with mocked(lambda _: problem(429), max_retries=2) as client, pytest.raises(Busy):
        client.predict(clip_path)
    assert len(naps) == 2


def test_a_wait_beyond_reason_is_not_waited(mocked, naps, clip_path):
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
def test_other_replies_become_the_right_error(mocked, clip_path, reply, error):
    def handler(_):
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    with mocked(handler) as client, pytest.raises(error):
        client.predict(clip_path)


@pytest.mark.parametrize(
    ("cause", "tries"),
    [
        (httpx.ConnectError("no"), 3),
        (httpx.ReadError("broke"), 3),
        (httpx.RemoteProtocolError("gone"), 3),
        (httpx.ReadTimeout("slow"), 1),
        (httpx.ConnectTimeout("slow"), 1),
    ],
)
def test_a_broken_connection_is_tried_again_and_a_silent_one_is_not(
    mocked, naps, clip_path, cause, tries
):
    seen = []

    def handler(request):
        seen.append(request)
        raise cause

    with mocked(handler, max_retries=2) as client, pytest.raises(Unreachable, match="http://test"):
        client.predict(clip_path)
    assert (len(seen), len(naps)) == (tries, tries - 1)


def test_waiting_for_readiness_ends(mocked, naps):
    replies = [problem(503, "starting")] * 3 + [httpx.Response(200, json={"status": "ready"})]
    with mocked(lambda _: replies.pop(0)) as client:
        client.wait_ready(60)
    assert len(naps) == 3
    with mocked(lambda _: problem(503, "starting")) as client, pytest.raises(Busy):
        client.wait_ready(0)


def test_the_key_is_sent_as_a_bearer_token(mocked, clip_path, answer):
    def handler(request):
        assert request.headers["authorization"] == "Bearer k"
        return httpx.Response(200, json=answer)

    with mocked(handler, api_key="k") as client:
        client.predict(clip_path)


def test_the_name_of_the_file_is_not_sent(mocked, clip_path, answer):
    secret = clip_path.rename(clip_path.with_name("my-private-life.mp4"))

    def handler(request):
        assert b"private" not in request.read()
        return httpx.Response(200, json=answer)

    with mocked(handler) as client:
        client.predict(secret)


def test_a_stream_that_breaks_off_is_no_answer(mocked, clip_path):
    wire = b'event: progress\ndata: {"stage": "received"}\n\n'
    replies = [wire, wire + b"event: completed\ndata: [1]\n\n", b"event: error\ndata: {]\n\n"]
    for body, error in zip(replies, (Unreachable, ServerFault, ServerFault), strict=True):
        answer = httpx.Response(200, content=body)
        with mocked(lambda _, answer=answer: answer) as client, pytest.raises(error):
            list(client.stream(clip_path))


def test_the_time_for_a_call_covers_its_waits(mocked, naps, clip_path):
    reply = problem(503, **{"retry-after": "7"})
    with mocked(lambda _: reply, total_s=5) as client, pytest.raises(Busy) as caught:
        client.predict(clip_path)
    assert (naps, caught.value.retry_after_s) == ([], 7.0)
    with mocked(lambda _: reply, total_s=0) as client, pytest.raises(TimedOut):
        client.models()


def test_retry_after_may_be_a_date(mocked, naps, answer, clip_path):
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    replies = [problem(429, **{"retry-after": when}), httpx.Response(200, json=answer)]
    with mocked(lambda _: replies.pop(0)) as client:
        client.predict(clip_path)
    assert 18 <= naps[0] <= 20 * 1.25


def test_a_key_is_refused_once_and_for_all(mocked, naps):
    with mocked(lambda _: problem(401, "unauthenticated")) as client, pytest.raises(KeyRefused):
        client.models()
    assert naps == []


@given(st.integers(400, 599), st.recursive(JSON, lambda x: st.lists(x) | st.dictionaries(KEYS, x)))
def test_whatever_a_server_says_is_a_client_error(status, body):
    reply = httpx.Response(status, json=body)
    options = {"transport": httpx.MockTransport(lambda _: reply), "max_retries": 0}
    with EgoPackClient("http://test", **options) as client, pytest.raises(ClientError) as caught:
        client.models()
    assert caught.value.status == status
