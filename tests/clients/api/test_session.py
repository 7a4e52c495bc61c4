from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.client import EgoPackClient
from clients.errors import (
    Busy,
    ClientError,
    KeyRefused,
    Rejected,
    ServerFault,
    TimedOut,
    Unreachable,
)
from tests.clients.support.replies import problem

JSON = st.none() | st.booleans() | st.integers() | st.text()
KEYS = st.sampled_from(["code", "detail", "errors", "limits", "request_id", "title"])


def test_a_refused_clip_is_not_sent_again(client, clip_path):
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(Rejected, match="a plain sentence"):
        client.predict(clip_path)


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


def test_the_key_is_sent_as_a_bearer_token(mocked, clip_path, answer):
    def handler(request):
        assert request.headers["authorization"] == "Bearer k"
        return httpx.Response(200, json=answer)

    with mocked(handler, api_key="k") as client:
        client.predict(clip_path)


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


@pytest.mark.slow
@given(st.integers(400, 599), st.recursive(JSON, lambda x: st.lists(x) | st.dictionaries(KEYS, x)))
def test_whatever_a_server_says_is_a_client_error(status, body):
    reply = httpx.Response(status, json=body)
    options = {"transport": httpx.MockTransport(lambda _: reply), "max_retries": 0}
    with EgoPackClient("http://test", **options) as client, pytest.raises(ClientError) as caught:
        client.models()
    assert caught.value.status == status
