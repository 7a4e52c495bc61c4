"""A stream's windows, by a real decoding process."""

import asyncio
import io
import os
import signal
import struct
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from extract.decode.clip import TRUSTED
from extract.decode.video import decode_clip
from extract.errors import DecoderDied, DecoderUnavailable, VideoRejected
from extract.sandbox.process import DecodeProcess
from extract.windows import stack_windows
from server.live.decoder import LiveDecoder
from tests.extract.support.clips import noisy_frames, write_clip
from tests.server.support.fakes import CONTRACT, FakeEncoder
from tests.support.waiting import wait_for

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


class Started:
    """Starts processes, and remembers them."""

    def __init__(self):
        self.processes = []

    def __call__(self):
        self.processes.append(DecodeProcess(TRUSTED, has_feed=True))
        return self.processes[-1]

    def kill(self):
        os.kill(self.processes[-1].pid, signal.SIGKILL)
        wait_for(self.processes[-1].has_ended)


@pytest.fixture
def start():
    return Started()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    frames = noisy_frames(70, 64, 48)
    return write_clip(path, frames, options={"g": "12"}, container_options=FRAGMENTED)


def stacked(window):
    """A window's frames, (T, H, W, 3)."""
    return np.stack([frame for _, frame in window.frames])


def picture(number, time_s):
    """The message of a picture whose brightness is its number."""
    target = io.BytesIO()
    Image.new("RGB", (64, 48), (number,) * 3).save(target, "PNG")
    return struct.pack("<d", time_s) + target.getvalue()


async def rest(decoder):
    found = []
    while (window := await decoder.next()) is not None:
        found.append(window)
    return found


def test_the_windows_are_those_of_the_file(start, clip):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "container")
        data = clip.read_bytes()

        async def feed():
            for n, first in enumerate(range(0, len(data), 2000)):
                await decoder.feed(data[first : first + 2000], float(n))
            await decoder.finish()

        found, _ = await asyncio.gather(rest(decoder), feed())
        decoder.stop()
        return found, -(-len(data) // 2000)

    found, messages = asyncio.run(main())
    expected = decode_clip(clip, CONTRACT, TRUSTED)
    windows = stack_windows(expected.frames, CONTRACT, expected.num_frames)
    assert np.array_equal(np.stack([stacked(w) for w in found]), windows)
    assert [w.number for w in found] == list(range(4))
    assert [w.num_frames for w in found] == [32, 48, 64, 70]
    assert {w.ticks_per_s for w in found} == {30.0}
    arrived = [w.arrived_s for w in found]
    assert arrived == sorted(arrived)
    assert arrived[-1] == messages - 1


def test_a_window_came_with_the_picture_that_makes_it_certain(start):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "pictures")
        for n in range(40):
            await decoder.feed(picture(n, n / 30), 100.0 + n)
        first = await decoder.next()
        decoder.stop()
        return first

    first = asyncio.run(main())
    assert first.arrived_s == 132.0  # the one after its last
    assert stacked(first)[:, 0, 0, 0].tolist() == list(range(32))


def test_an_encoder_that_takes_whole_frames_prepares_each_once(start):
    class Preparing(FakeEncoder):
        contract = replace(CONTRACT, resize="library")

        def __init__(self):
            super().__init__()
            self.prepared = 0

        def prepare(self, frames):
            self.prepared += len(frames)
            return frames[:, :4, :4].astype(np.float32)

    async def main():
        encoder = Preparing()
        decoder = LiveDecoder(start, encoder, "pictures", 30.0)
        for n in range(40):
            await decoder.feed(picture(n, 0.0), 0.0)
        await decoder.finish()
        found = await rest(decoder)
        decoder.stop()
        return found, encoder.prepared

    found, prepared = asyncio.run(main())
    assert prepared == 40
    assert stacked(found[0]).shape == (32, 4, 4, 3)
    assert stacked(found[0])[:, 0, 0, 0].tolist() == list(range(32))


def test_a_process_that_is_killed_between_pictures_is_replaced(start):
    """The picture before is shown until the next one, so that all times stay right."""
    restarts = []

    async def main():
        decoder = LiveDecoder(
            start, FakeEncoder(), "pictures", on_restart=lambda: restarts.append(1)
        )
        for n in range(48):
            await decoder.feed(picture(n, 5 + n / 30), 0.0)
        windows = [await decoder.next()]
        start.kill()
        reading = asyncio.create_task(rest(decoder))
        for n in range(48, 160):
            await decoder.feed(picture(n, 5 + n / 30), 0.0)
        await decoder.finish()
        windows += await reading
        decoder.stop()
        return windows, decoder.restarts

    windows, count = asyncio.run(main())
    assert (len(start.processes), count, restarts) == (2, 1, [1])
    assert [w.number for w in windows] == list(range(len(windows)))
    assert (windows[-1].num_frames, windows[0].origin_s) == (160, 5.0)
    shown = np.full(160, -1)
    for w in windows:
        shown[w.num_frames - 32 : w.num_frames] = stacked(w)[:, 0, 0, 0]
    times = np.arange(160)
    gap = shown != times
    assert 0 < gap.sum() < 120
    assert (np.diff(shown) >= 0).all()
    assert not gap[:32].any()
    assert not gap[-20:].any()


class Stepping(FakeEncoder):
    """Looks at every second frame."""

    contract = replace(CONTRACT, frame_step=2)


@pytest.mark.parametrize("count", [20, 40, 48, 61])
@pytest.mark.parametrize("rate", [30.0, None])
def test_pictures_that_no_window_looks_at_change_none(start, count, rate):
    async def main():
        decoder = LiveDecoder(start, Stepping(), "pictures", rate)
        for n in range(count):
            await decoder.feed(picture(n, n / 30), float(n))
        await decoder.finish()
        found = await rest(decoder)
        decoder.stop()
        return found

    found = asyncio.run(main())
    windows = stack_windows(np.arange(count)[:, None, None, None], Stepping.contract)
    assert np.array_equal(np.stack([stacked(w)[:, 0, 0, 0] for w in found]), windows[..., 0, 0, 0])
    if count > 32:
        assert found[0].arrived_s == (31.0 if rate else 32.0)


def test_a_process_that_replaces_another_need_not_know_its_first_tick(start):
    async def main():
        decoder = LiveDecoder(start, Stepping(), "pictures", 30.0)
        for n in range(33):
            await decoder.feed(picture(n, 0.0), 0.0)
        windows = [await decoder.next()]
        start.kill()
        reading = asyncio.create_task(rest(decoder))
        for n in range(33, 160):
            await decoder.feed(picture(n, 0.0), 0.0)
        await decoder.finish()
        windows += await reading
        decoder.stop()
        return windows

    windows = asyncio.run(main())
    assert windows[-1].num_frames == 160
    for window in windows[-2:]:
        times = range(window.num_frames - 32, window.num_frames, 2)
        assert stacked(window)[:, 0, 0, 0].tolist() == list(times)


def test_a_rate_stands_for_the_times_after_a_restart_too(start):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "pictures", 15.0)
        for n in range(30):
            await decoder.feed(picture(n, 0.0), 0.0)
        await decoder.next()
        start.kill()
        reading = asyncio.create_task(rest(decoder))
        for n in range(30, 90):
            await decoder.feed(picture(n, 0.0), 0.0)
        await decoder.finish()
        windows = await reading
        decoder.stop()
        return windows

    assert asyncio.run(main())[-1].num_frames == pytest.approx(180, abs=2)


def test_a_container_cannot_be_entered_midway(start, clip):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "container")
        await decoder.feed(clip.read_bytes()[:5000], 0.0)
        start.kill()
        with pytest.raises(DecoderDied):
            await decoder.next()
        feeding = asyncio.create_task(decoder.feed(bytes(1 << 20), 0.0))
        await asyncio.sleep(0.01)
        decoder.stop()  # which frees who still feeds
        await feeding

    asyncio.run(main())


def test_a_stream_that_kills_two_processes_in_a_row_is_at_fault(start):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "pictures")
        start.kill()
        reading = asyncio.create_task(decoder.next())
        while len(start.processes) < 2:
            await asyncio.sleep(0.005)
        start.kill()
        with pytest.raises(DecoderDied):
            await reading
        decoder.stop()

    asyncio.run(main())


def test_a_gap_after_a_restart_is_bounded(start):
    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "pictures")
        for n in range(40):
            await decoder.feed(picture(n, n / 30), 0.0)
        await decoder.next()
        start.kill()
        reading = asyncio.create_task(rest(decoder))
        for n in range(60):
            await decoder.feed(picture(n, 1e6 + n / 30), 0.0)
        with pytest.raises(VideoRejected, match="between two frames"):
            await reading
        decoder.stop()

    asyncio.run(main())


def test_a_stop_ends_threads_and_process_at_any_time(start):
    before = set(threading.enumerate())

    async def main():
        decoder = LiveDecoder(start, FakeEncoder(), "pictures")
        reading = asyncio.create_task(decoder.next())
        await asyncio.sleep(0.01)
        decoder.stop()
        decoder.stop()
        with pytest.raises(DecoderDied):
            await reading

    asyncio.run(main())
    wait_for(lambda: set(threading.enumerate()) <= before)
    assert start.processes[0].has_ended()


def test_no_process_to_start_is_told():
    def fail():
        raise OSError("no more processes")

    with pytest.raises(DecoderUnavailable):
        LiveDecoder(partial(fail), FakeEncoder(), "pictures")
