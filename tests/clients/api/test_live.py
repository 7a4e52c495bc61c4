"""Live streams against a server that breaks connections, refuses, and counts what it gets."""

import asyncio
import struct
import threading
import time

import pytest

from clients.api import live
from clients.client import AsyncEgoPackClient, EgoPackClient
from clients.errors import BadClip, Busy, KeyRefused, Rejected, ServerFault, Unreachable
from clients.results.live import LiveAnswer, LiveSummary
from tests.clients.support.live import FakeServer, InThread, running


def pictures(count):
    return [(n / 10, bytes([n % 256]) * 50) for n in range(count)]


async def collected(server, frames, **choices):
    async with running(server) as url, AsyncEgoPackClient(url, api_key="k") as client:
        return [message async for message in client.live(frames, **choices)]


def run(server, frames, **choices):
    return asyncio.run(collected(server, frames, **choices))


def taken_as_sent(server, frames):
    return server.taken == [struct.pack("<d", time_s) + data for time_s, data in frames]


def test_answers_come_while_frames_go_and_a_summary_ends_it():
    server, frames = FakeServer(), pictures(10)
    found = run(server, frames, tasks=["ar"], rate=None, segment_s=4.0)
    assert [m.to_s for m in found if isinstance(m, LiveAnswer)] == [2, 4, 6, 8, 10]
    assert isinstance(found[-1], LiveSummary)
    assert server.openings == [{"tasks": ["ar"], "segment_s": 4.0, "input": "pictures"}]
    assert taken_as_sent(server, frames)
    assert server.headers[0]["Authorization"] == "Bearer k"
    assert server.subprotocols == [live.PROTOCOL]


def test_a_container_goes_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr("clients.api.outgoing.PIECE_BYTES", 100)
    server, data = FakeServer(), bytes(range(250))
    run(server, [data, b"rest"])
    assert server.openings == [{"input": "container"}]
    assert [len(m) for m in server.taken] == [100, 100, 50, 4]
    assert b"".join(server.taken) == data + b"rest"


@pytest.mark.parametrize("breaks", [[1], [3, 4], [2, 7, 10], [10]])
def test_a_broken_connection_resumes_and_nothing_is_lost_or_doubled(breaks, monkeypatch):
    monkeypatch.setattr(live, "_RETRY_S", (0.0,))
    server, frames = FakeServer(breaks_after=breaks), pictures(10)
    found = run(server, frames)
    assert taken_as_sent(server, frames)
    assert [m.to_s for m in found if isinstance(m, LiveAnswer)] == [2, 4, 6, 8, 10]
    assert len(server.openings) == len(breaks) + 1
    assert all(o["resume"] == "t0" for o in server.openings[1:])


def test_a_connection_that_does_not_come_back_is_given_up(monkeypatch):
    monkeypatch.setattr(live, "_RETRY_S", (0.01,))
    monkeypatch.setattr(live, "RESUME_S", 0.2)

    class Gone(FakeServer):
        async def refuse(self, connection, request):
            if self.headers:
                connection.transport.abort()
            return await super().refuse(connection, request)

    with pytest.raises(Unreachable, match="the live connection broke"):
        run(Gone(breaks_after=[2]), pictures(10))


def test_no_server_is_said_at_once():
    async def ask():
        async with AsyncEgoPackClient("http://127.0.0.1:9") as client:
            return [m async for m in client.live(pictures(1))]

    with pytest.raises(Unreachable):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(429, "queue-full", Busy), (401, "unauthenticated", KeyRefused), (503, "draining", Busy),
     (422, "field-invalid", Rejected), (500, "internal", ServerFault)],
)  # fmt: skip
def test_a_refusal_before_the_upgrade_is_that_of_any_call(status, code, error):
    with pytest.raises(error, match="not now") as caught:
        run(FakeServer(refuses=(status, code)), pictures(3))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("close", "code", "error"),
    [(1001, "draining", Busy), (1013, "overloaded", Busy), (4400, "damaged", BadClip),
     (1008, "idle", Rejected), (1009, "too-large", Rejected), (1011, "internal", ServerFault)],
)  # fmt: skip
def test_a_stream_that_the_server_ends_says_why(close, code, error):
    with pytest.raises(error, match="as it is") as caught:
        run(FakeServer(closes=(close, code)), pictures(3))
    assert caught.value.code == code
    assert len(caught.value.args) == 1


def test_what_the_server_has_not_taken_in_is_bounded(monkeypatch):
    """The source is not asked for more while many bytes are on the way."""
    monkeypatch.setattr("clients.api.outgoing.MAX_UNACKED_BYTES", 1000)
    asked = []

    def frames():
        for item in pictures(200):
            asked.append(item)
            yield item

    async def ask():
        server = FakeServer(answers=False)
        async with running(server) as url, AsyncEgoPackClient(url) as client:
            messages = client.live(frames())
            waiting = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0.5)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await messages.aclose()

    asyncio.run(ask())
    assert len(asked) < 25


def test_an_error_of_the_source_is_the_callers():
    def frames():
        yield from pictures(3)
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        run(FakeServer(), frames())


def test_no_frame_is_no_stream():
    with pytest.raises(ValueError, match="no frame"):
        run(FakeServer(), [])


def test_the_blocking_client_sends_while_its_caller_is_busy():
    with InThread(FakeServer()) as there, EgoPackClient(there.url) as client:
        found = []
        for message in client.live(pictures(20)):
            found.append(message)
            if len(found) == 1:
                while len(there.server.taken) < 20:  # goes on without the caller
                    time.sleep(0.01)
        assert isinstance(found[-1], LiveSummary)
        assert len(found) == 11


def test_leaving_the_loop_ends_the_stream():
    def endless():
        number = 0
        while True:
            yield (number / 30, b"x")
            number += 1

    before = threading.active_count()
    with InThread(FakeServer()) as there, EgoPackClient(there.url) as client:
        for message in client.live(endless()):
            assert isinstance(message, LiveAnswer)
            break
    assert threading.active_count() <= before + 1  # the source's thread ends with its next frame
