"""Pictures that no window looks at are left out, and the windows are the same."""

import io
import os
import random
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from extract.decode.clip import TRUSTED
from extract.decode.live import pictures as live_pictures
from extract.decode.live.decode import decode_live
from extract.decode.live.protocol import PICTURE_HEAD
from extract.decode.live.sources import PictureReader
from extract.errors import VideoRejected
from extract.windows import WindowCutter
from tests.extract.support.decoded import EVERY

STEPPED = replace(EVERY, window_frames=12, stride_frames=6, frame_step=2)


class Cut:
    """Cuts windows from what a sink is given, and counts its pictures."""

    def __init__(self, contract):
        self.cutter = WindowCutter(contract)
        self.windows, self.pictures, self.frame = [], 0, None

    def begin(self, start_s, ticks_per_s):
        pass

    def append(self, picture, ticks, taken):
        self.pictures += 1
        self.frame = picture.copy()
        self.windows += self.cutter.push([self.frame] * ticks)

    def repeat(self, ticks, taken, *, is_awaited):
        before = len(self.windows)
        self.windows += self.cutter.push([self.frame] * ticks)
        assert is_awaited == (len(self.windows) > before)

    def amend(self, picture, back):
        self.cutter.amend(back, picture.copy())


def png(number, size=(64, 48)):
    target = io.BytesIO()
    Image.new("RGB", size, (number % 256, number // 256, 7)).save(target, "PNG")
    return target.getvalue()


def windows_of(pictures, contract, *, takes_all, rate=None):
    """Decodes (time_s, bytes) pairs; returns the windows, the sink and the facts."""
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as file:
            for time_s, data in pictures:
                file.write(PICTURE_HEAD.pack(time_s, len(data)) + data)

    writer = threading.Thread(target=write)
    writer.start()
    sink = Cut(contract)
    try:
        facts = decode_live(
            reading, "pictures", contract, TRUSTED, sink, rate=rate, takes_all=takes_all
        )
    finally:
        os.close(reading)
        writer.join()
    sink.windows += sink.cutter.finish()
    return np.stack([np.stack(window) for window in sink.windows]), sink, facts


@pytest.mark.parametrize("rate", [30.0, 25.0, None])
@pytest.mark.parametrize("count", [1, 2, 5, 11, 12, 13, 17, 18, 19, 40, 41])
def test_the_windows_are_those_of_all_pictures(count, rate):
    jitter = random.Random(count)
    pictures = [(n / 30 + jitter.uniform(0, 0.03), png(n)) for n in range(count)]
    expected, every, _ = windows_of(pictures, STEPPED, takes_all=True, rate=rate)
    found, some, facts = windows_of(pictures, STEPPED, takes_all=False, rate=rate)
    assert np.array_equal(found, expected)
    assert some.cutter.num_frames == every.cutter.num_frames
    assert facts.frames == count
    if rate == 30.0:
        assert some.pictures == -(-count // 2)


@pytest.mark.parametrize(("window", "stride", "step"), [(32, 16, 2), (12, 16, 3), (9, 4, 3)])
def test_windows_of_any_contract(window, stride, step):
    contract = replace(EVERY, window_frames=window, stride_frames=stride, frame_step=step)
    for count in range(60, 70):
        pictures = [(n / 30, png(n)) for n in range(count)]
        expected, _, _ = windows_of(pictures, contract, takes_all=True, rate=30)
        found, _, _ = windows_of(pictures, contract, takes_all=False, rate=30)
        assert np.array_equal(found, expected)


def test_pictures_with_gaps_and_late_ones():
    times_s = [0.0, 0.02, 0.04, 0.2, 0.19, 0.5, 0.51, 0.9, 2.0, 2.05]
    pictures = [(time_s, png(n)) for n, time_s in enumerate(times_s)]
    expected, _, every = windows_of(pictures, STEPPED, takes_all=True)
    found, _, some = windows_of(pictures, STEPPED, takes_all=False)
    assert np.array_equal(found, expected)
    assert some == every


@pytest.mark.parametrize(("takes_all", "refused"), [(True, 2), (False, 1)])
def test_a_damaged_picture_shows_the_one_before_and_keeps_its_time(takes_all, refused):
    pictures = [(n / 30, png(n)) for n in range(20)]
    pictures[6] = (6 / 30, png(6)[:40])
    pictures[7] = (7 / 30, png(7)[:40])  # no window looks at it
    found, sink, facts = windows_of(pictures, STEPPED, takes_all=takes_all, rate=30)
    assert found[0][:, 0, 0, 0].tolist() == [0, 2, 4, 5, 8, 10]
    assert (sink.cutter.num_frames, facts.refused, facts.frames) == (20, refused, 20 - refused)


def test_a_stream_begins_with_the_first_picture_that_can_be_decoded():
    pictures = [(n / 30, png(n) if n > 2 else png(n)[:40]) for n in range(20)]
    found, _, facts = windows_of(pictures, STEPPED, takes_all=False, rate=30)
    assert found[0][:, 0, 0, 0].tolist() == [3, 5, 7, 9, 11, 13]
    assert facts.refused == 3
    with pytest.raises(VideoRejected, match="no frame"):
        windows_of(pictures[:3], STEPPED, takes_all=False, rate=30)


def test_only_what_windows_look_at_is_decoded(monkeypatch):
    decoded, real = [], PictureReader.decoded

    def noted(self, picture):
        decoded.append(round(picture.time_s * 30))
        return real(self, picture)

    monkeypatch.setattr(PictureReader, "decoded", noted)
    windows_of([(n / 30, png(n)) for n in range(24)], STEPPED, takes_all=False, rate=30)
    assert decoded == list(range(0, 24, 2))
    decoded.clear()
    windows_of([(n / 30, png(n)) for n in range(24)], EVERY, takes_all=False, rate=30)
    assert decoded == list(range(24))


def test_what_is_kept_is_bounded(monkeypatch):
    """Pictures beyond the bound are decoded at once."""
    monkeypatch.setattr(live_pictures, "KEPT_BYTES", 3 * len(png(1)) + 10)
    pictures = [(n / 30, png(n)) for n in range(37)]
    expected, _, _ = windows_of(pictures, STEPPED, takes_all=True, rate=30)
    found, sink, _ = windows_of(pictures, STEPPED, takes_all=False, rate=30)
    assert np.array_equal(found, expected)
    assert 19 < sink.pictures < 37 - 6  # what is past makes room again
