"""One stream, with a decoder that gives the windows that a test makes."""

import asyncio
import gc
import json
import threading
import weakref
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch

from extract.errors import DecoderDied, VideoRejected
from extract.windows import number_frames
from server.errors import HostOutOfMemory
from server.live import endings
from server.live.decoder import LiveWindow
from server.live.options import LiveOptions
from server.live.outbox import MAX_MESSAGES
from server.live.session import ACK_MESSAGES, MAX_PIECE_BYTES, MAX_WAITING, LiveSession
from tests.server.engine.conftest import started
from tests.support.waiting import PATIENCE_S, wait_until


class FakeDecoder:
    """Gives windows of the grey levels it is told, one after the other."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.fed = []
        self.is_stopped = False
        self.given = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.frames = []

    def give(self, *levels, last_frames=None):
        for grey in levels:
            end = self.given * 16 + 32
            frames = np.full((32, 4, 4, 3), grey, np.uint8)
            self.frames.append(weakref.ref(frames))
            now_s = asyncio.get_running_loop().time()
            self.queue.put_nowait(
                LiveWindow(
                    self.given, list(number_frames(frames)), last_frames or end, 0.0, 30.0, now_s
                )
            )
            self.given += 1

    def end(self, error=None):
        self.queue.put_nowait(error)

    async def feed(self, data, arrived_s):
        await self.gate.wait()
        self.fed.append(data)

    async def finish(self):
        self.end()

    async def next(self):
        found = await self.queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self):
        self.is_stopped = True


@asynccontextmanager
async def streaming(options=None, **settings):
    async with started(**{"live_ahead_s": 1e6, **settings}) as (engine, predictor, _):
        decoder = FakeDecoder()
        session = LiveSession(
            engine, predictor, options or LiveOptions(), decoder, token="t", caller="a"
        )
        session.attach()
        await session.feed(b"12345678picture")
        try:
            yield session, decoder, predictor
        finally:
            session.end(endings.GONE)
            await session.wait_ended()


async def messages(session, *, until=None):
    """All messages of a stream that ends, or as far as the first of a type."""
    found, seq = [], 0
    async with asyncio.timeout(PATIENCE_S):
        while (message := await session.outbox.next(seq)) is not None:
            seq = message.seq
            found.append(json.loads(message.text))
            if found[-1]["type"] == until:
                break
    return found


def of(found, kind):
    return [message for message in found if message["type"] == kind]


async def settle():
    for _ in range(30):
        await asyncio.sleep(0.002)


def test_a_stream_is_answered_as_it_comes_and_summarised():
    async def main():
        async with streaming(LiveOptions(forecast_every=4)) as (session, decoder, predictor):
            decoder.give(*[51] * 8)
            decoder.give(51, last_frames=160 + 5)
            await session.finish()
            found = await messages(session)
            assert session.ending == endings.DONE
            assert decoder.is_stopped
            return found, predictor

    found, predictor = asyncio.run(main())
    assert [m["seq"] for m in found] == list(range(1, len(found) + 1))
    ready = found[0]
    assert (ready["type"], ready["token"], ready["received"]) == ("ready", "t", 0)
    assert ready["stride_s"] == pytest.approx(16 / 30)
    assert ready["model"]["name"] == "fake"
    answers = of(found, "answer")
    assert [a["to_s"] for a in answers] == pytest.approx(
        [(32 + 16 * n) / 30 for n in range(8)] + [165 / 30]
    )
    assert {a["from_s"] for a in answers} == {0.0}
    assert answers[0]["oscc"]["probability"] == pytest.approx(0.2)
    assert all(a["lag_ms"] >= 0 for a in answers)
    assert [f["at_s"] for f in of(found, "forecast")] == pytest.approx([80 / 30, 144 / 30])
    assert [(a["event"], a["verb"]) for a in of(found, "action")] == [
        ("start", "take"),
        ("end", "take"),
    ]
    summary = found[-1]
    assert (summary["type"], summary["skipped"]) == ("summary", 0)
    assert summary["result"]["features"]["count"] == 9
    assert summary["result"]["segments"][0]["end_s"] == pytest.approx(165 / 30)
    assert sum(predictor.encoder.batches[1:]) == 9  # each window once; the first was the canary's


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 3}, {"answer": 2, "forecast": 0, "action": 2}),
        ({"answers": False, "forecast_every": 0}, {"answer": 0, "forecast": 0, "action": 2}),
        ({"events": False}, {"answer": 6, "forecast": 0, "action": 0}),
        ({"tasks": ["oscc"]}, {"answer": 6, "forecast": 0, "action": 0}),
        ({"tasks": ["lta"], "forecast_every": 2}, {"answer": 0, "forecast": 3, "action": 0}),
    ],
)
def test_only_what_is_asked_for_is_sent(options, expected):
    async def main():
        async with streaming(LiveOptions(**options)) as (session, decoder, _):
            decoder.give(*[51] * 6)
            await session.finish()
            return await messages(session)

    found = asyncio.run(main())
    assert {kind: len(of(found, kind)) for kind in expected} == expected


class Held:
    """Holds the model's thread at its next prediction, until it is told to go on."""

    def __init__(self, predictor):
        self.is_reached, self._gate = threading.Event(), threading.Event()
        predictor.before_predict = self._wait

    def _wait(self):
        self.is_reached.set()
        self._gate.wait(PATIENCE_S)

    def go_on(self):
        self._gate.set()


def has_read_all(session, decoder):
    """Whether the next window is awaited, and none is there."""
    return decoder.queue.empty() and session._asked_s is not None


def test_a_stream_that_the_encoder_cannot_follow_leaves_out_whole_windows():
    """The oldest that wait go, in one piece, and the rows after them keep their times."""

    async def main():
        async with streaming(LiveOptions(segment_s=1.0)) as (session, decoder, predictor):
            session.input.first_s -= 1000  # far behind its times
            held = Held(predictor)
            decoder.give(51)
            await wait_until(held.is_reached.is_set)
            decoder.give(*[102] * 20)
            await wait_until(lambda: has_read_all(session, decoder))
            waiting = len(session._waiting.windows)
            held.go_on()
            await wait_until(lambda: len(session._pipeline._live) == 21)
            decoder.give(51)
            await session.finish()
            counted = session._engine.telemetry.metrics.live_skipped._value.get()
            return await messages(session), waiting, counted

    found, waiting, counted = asyncio.run(main())
    assert waiting == MAX_WAITING
    (skipped,) = of(found, "skipped")
    assert skipped["windows"] == 20 - MAX_WAITING == counted
    assert (skipped["from_s"], skipped["to_s"]) == pytest.approx((16 / 30, (16 * 16 + 32) / 30))
    answers = of(found, "answer")
    ends = [0, 17, 18, 19, 20, 21]
    assert [a["to_s"] for a in answers] == pytest.approx([(32 + 16 * n) / 30 for n in ends])
    summary = found[-1]
    assert summary["skipped"] == 16
    assert summary["result"]["features"]["count"] == 22
    starts = [segment["start_s"] for segment in summary["result"]["segments"]]
    assert starts == pytest.approx([0, 9, 10, 11])  # seconds that were left out are not answered
    assert [(a["event"], a["end_s"]) for a in of(found, "action")][-1][1] == pytest.approx(368 / 30)


@pytest.mark.parametrize("skip", [True, False], ids=["ahead", "behind, but all of it"])
def test_a_stream_that_is_ahead_or_leaves_out_nothing_waits_instead(skip):
    async def main():
        async with streaming(LiveOptions(skip=skip)) as (session, decoder, predictor):
            session.input.first_s += 0 if skip else -1000
            held = Held(predictor)
            decoder.give(*[51] * 40)
            await wait_until(lambda: len(session._waiting.windows) == MAX_WAITING)
            await settle()
            assert len(session._waiting.windows) == MAX_WAITING
            held.go_on()
            await session.finish()
            return await messages(session)

    found = asyncio.run(main())
    assert of(found, "skipped") == []
    assert len(of(found, "answer")) == 40


def test_a_stream_may_not_be_far_ahead():
    async def main():
        async with streaming(live_ahead_s=4.0) as (session, decoder, _):
            decoder.give(*[51] * 40)
            await settle()
            return session.outbox.last, decoder.queue.qsize()

    sent, left = asyncio.run(main())
    assert left > 20  # 4 s are seven windows
    assert sent < 20


def test_frames_are_let_go_once_they_are_encoded():
    async def main():
        async with streaming() as (session, decoder, _):
            for _ in range(30):
                decoder.give(51)
                await messages(session, until="answer")
                await asyncio.sleep(0)
            await settle()
            gc.collect()
            return [frames() is not None for frames in decoder.frames]

    assert sum(asyncio.run(main())) <= 1


def test_messages_are_acknowledged_as_they_are_taken_in():
    async def main():
        async with streaming() as (session, decoder, _):
            for n in range(ACK_MESSAGES + 1):
                await session.feed(b"12345678" + bytes([n]))
            decoder.end(VideoRejected("damaged", "it ends"))
            found = await messages(session)
            assert len(decoder.fed) == session.input.received == ACK_MESSAGES + 2
            return [m["received"] for m in of(found, "ack")]

    assert asyncio.run(main()) == [1, ACK_MESSAGES + 1]


def test_a_message_counts_once_even_if_its_connection_goes_meanwhile():
    async def main():
        async with streaming() as (session, decoder, _):
            decoder.gate.clear()
            feeding = asyncio.create_task(session.feed(b"12345678a"))
            await asyncio.sleep(0)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            assert session.input.received == 2
            decoder.gate.set()
            await session.feed(b"12345678b")
            await settle()
            return decoder.fed[1:]

    assert asyncio.run(main()) == [b"12345678a", b"12345678b"]


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (VideoRejected("damaged", "it is cut"), (4400, "damaged")),
        (DecoderDied("signal 9"), (4400, "decoder-died")),
        (RuntimeError("a bug"), (1011, "internal")),
        (HostOutOfMemory("none"), (1013, "out-of-memory")),
    ],
)
def test_an_error_ends_it_with_its_reason(error, ending):
    async def main():
        async with streaming() as (session, decoder, _):
            decoder.give(51)
            await messages(session, until="answer")
            decoder.end(error)
            return await messages(session), session.ending

    found, ended = asyncio.run(main())
    assert (ended.close, ended.code) == ending
    assert (found[-1]["type"], found[-1]["code"]) == ("error", ending[1])
    assert "signal" not in found[-1]["detail"]
    assert "bug" not in found[-1]["detail"]


@pytest.mark.parametrize(
    ("options", "data", "ending"),
    [
        ({}, b"1234567", (4400, "damaged")),
        ({"input": "container"}, bytes(MAX_PIECE_BYTES + 1), (1009, "message-too-large")),
    ],
)
def test_a_message_that_cannot_be_one_ends_it(options, data, ending):
    async def main():
        async with streaming(LiveOptions(**options)) as (session, _, _):
            await session.feed(data)
            return session.ending

    ended = asyncio.run(main())
    assert (ended.close, ended.code) == ending


def test_silence_ends_it_and_so_does_what_makes_no_window():
    async def main(is_silent):
        async with streaming(live_idle_s=5.0) as (session, decoder, _):
            await wait_until(lambda: has_read_all(session, decoder))
            session.check()
            assert session.ending is None
            session._asked_s -= 6
            if is_silent:
                session.input.last_s -= 6
            session.check()
            return session.ending

    for is_silent, words in ((True, "nothing came"), (False, "no new window")):
        ended = asyncio.run(main(is_silent))
        assert (ended.close, ended.code) == (1008, "idle")
        assert words in ended.detail


def test_a_stream_without_a_connection_is_not_silent_by_its_own_fault():
    async def main():
        async with streaming(live_idle_s=5.0) as (session, decoder, _):
            await wait_until(lambda: has_read_all(session, decoder))
            connection = session.attach()
            session.detach(connection)
            session._asked_s -= 6
            session.check()
            assert session.ending is None
            assert session.dropped_for_s >= 0
            first_s = session.input.first_s
            session.input.last_s -= 10  # noticed or not
            session.attach()
            session.check()
            assert session.ending is None
            assert session.dropped_for_s is None
            return session.input.first_s - first_s

    assert asyncio.run(main()) >= 10  # it may be sent in a hurry now, and none is left out


def test_another_connection_takes_the_place_of_one_that_hangs():
    async def main():
        async with streaming() as (session, _, _):
            first = session.attach()
            second = session.attach()
            assert first.is_set()
            assert not second.is_set()
            session.detach(first)
            return session.dropped_for_s

    assert asyncio.run(main()) is None


def test_a_stream_that_lasts_too_long_is_cut_and_summarised():
    async def main():
        async with streaming(live_max_s=10.0) as (session, decoder, _):
            decoder.give(*[51] * 19)  # 10.7 s
            found = await messages(session)
            received = session.input.received
            await session.feed(b"12345678more")  # is ignored
            assert session.input.received == received
            return found, session.ending

    found, ended = asyncio.run(main())
    assert [m["type"] for m in found][-2:] == ["summary", "error"]
    assert (ended.close, ended.code) == (1008, "too-long")


def test_a_client_that_reads_nothing_ends_its_stream():
    async def main():
        async with streaming() as (session, decoder, _):
            decoder.give(*[51] * (MAX_MESSAGES + 10))
            async with asyncio.timeout(PATIENCE_S):
                await session.wait_ended()
            return session.ending

    assert asyncio.run(main()) == endings.SLOW_READER


@pytest.mark.slow(2)
def test_features_are_all_that_grows():
    """An hour's windows: no frames, no messages beyond the bound."""

    async def main():
        options = LiveOptions(every=1024, forecast_every=0, events=False)
        async with streaming(options) as (session, decoder, _):
            live = session._pipeline._live
            for n in range(27):
                decoder.give(*[51] * 250)
                await wait_until(lambda n=n: len(live) == (n + 1) * 250)
            gc.collect()
            alive = sum(frames() is not None for frames in decoder.frames)
            return alive, len(live), live._rows.nbytes, len(session.outbox._kept)

    alive, rows, size, kept = asyncio.run(main())
    assert alive <= 1
    assert rows == 27 * 250
    assert size <= 2 * 27 * 250 * 4 * 4
    assert kept < 20


def test_it_keeps_the_bundle_that_it_began_with():
    async def main():
        async with streaming() as (session, decoder, predictor):
            decoder.give(51)
            await messages(session, until="answer")
            other = type(predictor)()
            other.sha256 = "b" * 64
            session._engine.model.switch(other)
            decoder.give(51, 51)
            await session.finish()
            found = await messages(session)
            assert other.batches == []
            return found[-1]["result"]["model"]["sha256"]

    assert asyncio.run(main()) == "a" * 64


def test_rows_are_those_of_the_encoder():
    async def main():
        async with streaming() as (session, decoder, _):
            decoder.give(10, 20, 30)
            await session.finish()
            await messages(session)
            return session._pipeline._track.features

    expected = torch.tensor([10.0, 20.0, 30.0]).unsqueeze(1).repeat(1, 4)
    assert torch.equal(asyncio.run(main()), expected)
