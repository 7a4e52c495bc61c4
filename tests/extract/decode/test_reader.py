from types import SimpleNamespace

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE, TABLETOP
from extract.decode.clip import TRUSTED
from extract.decode.pyav.reader import TrackDecoder
from extract.errors import VideoRejected
from tests.extract.decode.clip_checks import noisy
from tests.extract.support.clips import (
    joined,
    noisy_frames,
    trim_by_copy,
    write_clip,
    write_numbered,
)
from tests.extract.support.decoded import decode


def trimmed(folder):
    noisy(folder / "whole.mp4", options={"g": "100", "bf": "0"})
    return trim_by_copy(folder / "whole.mp4", folder / "trimmed.mp4", 20)


def starts_late(folder):
    return noisy(folder / "late.mkv", times_ms=[400 + 33 * k for k in range(71)])


def starts_a_tick_late(folder):
    return noisy(folder / "h264.avi", options={"bf": "2"})


def says_sizes_in_pictures(folder):
    return noisy(folder / "motion.mov", codec="mjpeg", pix_fmt="yuvj420p")


def grows(folder):
    """H.264 whose packets bring a head for larger pictures along."""
    paths = [folder / f"{width}.mp4" for width in (80, 160)]
    for path, width in zip(paths, (80, 160), strict=True):
        head = {"x264-params": "repeat-headers=1:annexb=0"}
        noisy(path, size=(width, 60), count=20, options={**head, "bf": "0"})
    return joined(paths, folder / "grows.mp4")


def is_long(folder):
    return write_numbered(folder / "long.mp4", 3700, options={"preset": "ultrafast"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [trimmed, starts_late, starts_a_tick_late, says_sizes_in_pictures, grows, is_long]
)
def test_the_gate_sends_to_pyav_what_decord_gets_wrong_or_cannot_hold(tmp_path, make):
    path = make(tmp_path)
    facts, frames = decode(path)
    assert facts.info.reader == "pyav"
    assert np.array_equal(decode(path, choice="pyav")[1], frames)
    with pytest.raises(VideoRejected) as caught:
        decode(path, choice="decord")
    assert caught.value.code == "reader-refused"


def test_streams_are_read_by_pyav_unless_decord_is_asked_for(tmp_path):
    path = noisy(tmp_path / "a.mp4")
    facts, frames = decode(path, limits=TRUSTED)
    assert facts.info.reader == "pyav"
    by_decord, decord_frames = decode(path, choice="decord", limits=TRUSTED)
    assert by_decord.info.reader == "decord"
    assert np.array_equal(decord_frames, frames)


def test_a_damaged_file_is_read_again_by_pyav_unless_decord_was_asked_for(tmp_path):
    path = noisy(tmp_path / "a.mp4", options={"g": "10"})
    with av.open(str(path)) as source:
        packets = [p for p in source.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    spoilt = packets[41]
    begin = spoilt.pos + 5  # behind what says how long and of which type it is
    data[begin : spoilt.pos + spoilt.size] = bytes(spoilt.size - 5)
    path.write_bytes(data)
    facts, frames = decode(path)
    assert facts.info.reader == "pyav"
    assert [notice.code for notice in facts.notices] == ["reader-fallback", "damaged"]
    assert np.array_equal(decode(path, choice="pyav")[1], frames)
    with pytest.raises(VideoRejected) as caught:
        decode(path, choice="decord")
    assert caught.value.code == "reader-refused"


@pytest.mark.parametrize("contract", [OMNIVORE, TABLETOP], ids=["floats", "bytes"])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv420p10le"])
def test_nvdec_is_pyav_with_another_decoder(tmp_path, monkeypatch, contract, pixels):
    """One whose frames have their chroma interleaved, as the driver hands them over."""
    path = write_clip(tmp_path / "a.mp4", noisy_frames(6, 320, 240), pix_fmt=pixels)
    expected, opened = decode(path, contract, choice="pyav")[1], []
    real, gpu = av.open, SimpleNamespace()

    def open_on_gpu(*arguments, hwaccel, **options):
        opened.append(hwaccel)
        return real(*arguments, **options)

    class OnGpu(TrackDecoder):
        def frames(self, *arguments, **options):
            for frame in super().frames(*arguments, **options):
                interleaved = "p010le" if "10" in frame.format.name else "nv12"
                yield frame.reformat(format=interleaved, dst_color_range=frame.color_range)

    monkeypatch.setattr("extract.decode.reader.nvdec", lambda: gpu)
    monkeypatch.setattr("extract.decode.pyav.reader.TrackDecoder", OnGpu)
    monkeypatch.setattr(av, "open", open_on_gpu)
    facts, frames = decode(path, contract, choice="nvdec")
    assert facts.info.reader == "nvdec"
    assert opened == [None, gpu]  # the look at the packets decodes nothing
    assert np.array_equal(frames, expected)
