"""A track without the pictures that nobody wants: fewer pictures, and the others as they were."""

import av
import numpy as np
import pytest

from extract.decode.clip import Limits
from extract.decode.decord_reader import DecordReader, DecordTrouble
from extract.decode.demux import scan_packets
from extract.decode.pyav import frame_skipping as spare
from extract.decode.pyav.frame_skipping import without_skippable
from extract.decode.sniff import sniff_file
from extract.decode.video import decode_clip
from extract.windows import wanted_frames
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import EVERY, TABLETOP, decode

COUNT = 71
EVEN = (np.arange(COUNT) % 2 == 0).astype(np.int64)
LIMITS = Limits()
HEVC = {"codec": "libx265"}

MARKED = {
    "plain.mp4": {},
    "plain.mkv": {},
    "pyramid.mp4": {"options": {"bf": "8", "x264-params": "b-pyramid=normal:ref=4"}},
    "open-gop.mkv": {"options": {"bf": "3", "x264-params": "open-gop=1:keyint=20"}},
    "interlaced.mp4": {"options": {"x264-params": "interlaced=1:bframes=3"}},
    "delimited.mp4": {"options": {"x264-params": "aud=1:bframes=3"}},
    "turned.mp4": {"rotation": 90},
    "uneven.mp4": {"times_ms": [33 * k + 9 * (k % 3) for k in range(COUNT)]},
    "hevc.mp4": {**HEVC, "options": {"x265-params": "log-level=none"}},
    "hevc.mkv": {**HEVC, "options": {"x265-params": "log-level=none:bframes=7:b-pyramid=1"}},
}
UNMARKED = {
    "no-b-frames.mp4": {"options": {"bf": "0"}},
    "h264.avi": {"options": {"bf": "2"}},
    "layers.mp4": {
        **HEVC,
        "options": {"x265-params": "log-level=none:temporal-layers=3:bframes=7:b-pyramid=1"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "3"}},
    "motion.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


def clip(folder, name):
    facts = MARKED.get(name, UNMARKED.get(name))
    return write_clip(folder / name, noisy_frames(COUNT, 128, 96), **facts)


def thin(path, repeats=EVEN):
    return without_skippable(path, scan_packets(path, sniff_file(path), LIMITS), repeats, LIMITS)


def pictures(file):
    """Every picture, how it is turned, and when it is shown."""
    with av.open(file) as source:
        stream = source.streams.video[0]
        return [(f.to_ndarray(), f.rotation, f.pts * stream.time_base) for f in source.decode()]


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKED)
def test_a_copy_holds_the_same_pictures_only_fewer(tmp_path, name):
    path = clip(tmp_path, name)
    copy = thin(path)
    assert set(np.flatnonzero(EVEN)) <= set(copy.kept)
    assert len(copy.kept) < 0.9 * COUNT
    every, fewer = pictures(str(path)), pictures(copy.file)
    assert len(fewer) == len(copy.kept)
    for index, (picture, rotation, time) in zip(copy.kept, fewer, strict=True):
        assert np.array_equal(picture, every[index][0])
        assert rotation == every[index][1]
        assert time - fewer[0][2] == every[index][2] - every[copy.kept[0]][2]


@pytest.mark.slow
@pytest.mark.parametrize("name", UNMARKED)
def test_no_copy_is_made_where_no_picture_is_known_to_be_spare(tmp_path, name):
    assert thin(clip(tmp_path, name)) is None


def test_no_copy_is_made_when_all_is_wanted_or_the_file_is_large(tmp_path, monkeypatch):
    path = clip(tmp_path, "plain.mp4")
    assert thin(path) is not None
    assert thin(path, np.ones(COUNT, dtype=np.int64)) is None
    monkeypatch.setattr(spare, "_MAX_COPY_MB", 0)
    assert thin(path) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKED)
def test_decord_delivers_of_a_copy_what_it_does_of_the_file(tmp_path, name):
    path = clip(tmp_path, name)
    _, every = decode(path, EVERY, "decord")
    facts, frames = decode(path, TABLETOP, "decord")
    by_pyav, others = decode(path, TABLETOP, "pyav")
    assert facts.info.reader == "decord"
    assert np.array_equal(frames, others)
    assert np.array_equal(facts.source_times_s, by_pyav.source_times_s)
    assert np.array_equal(frames, every[wanted_frames(len(every), TABLETOP)])


def test_pyav_takes_over_when_no_copy_can_be_written(tmp_path, monkeypatch):
    def fails(*_):
        raise av.error.InvalidDataError(1, "the muxer does not take it")

    monkeypatch.setattr(spare, "_written", fails)
    path = clip(tmp_path, "plain.mp4")
    report = scan_packets(path, "mp4", LIMITS)
    reader = DecordReader(path, report, TABLETOP, LIMITS, width=128, height=96)
    with pytest.raises(DecordTrouble):
        next(reader.frames(EVEN))
    found = decode_clip(path, TABLETOP, LIMITS)
    assert (found.info.reader, [notice.code for notice in found.notices]) == (
        "pyav",
        ["reader-fallback"],
    )
    assert np.array_equal(found.frames, decode(path, TABLETOP, "pyav")[1])
