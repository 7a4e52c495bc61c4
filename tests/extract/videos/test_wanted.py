"""Only the frames that windows look at are delivered, and nothing else changes."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from extract.contract import TABLETOP, FeatureContract
from extract.decode.pyav.reader import PyavReader
from extract.decode.video import decode_clip
from extract.features.extractor import Extractor
from extract.windows import wanted_frames
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import EVERY, SHORT, decode

COUNT = 71
"""Odd, so that the last window looks at the frames between those of the others."""


HEVC = {"codec": "libx265"}
SOURCES = {
    "plain.mp4": {},
    "b-frames.mp4": {"options": {"bf": "3", "g": "20"}},
    "pyramid.mp4": {"options": {"bf": "8", "x264-params": "b-pyramid=normal:ref=4"}},
    "open-gop.mkv": {"options": {"bf": "3", "x264-params": "open-gop=1:keyint=20"}},
    "interlaced.mp4": {"options": {"x264-params": "interlaced=1:bframes=3"}},
    "nothing-to-leave-out.mp4": {"options": {"bf": "0"}},
    "60fps.mp4": {"rate": 60},
    "24fps.mp4": {"rate": 24},
    "h264.avi": {"options": {"bf": "2"}},
    "hevc.mp4": {**HEVC, "options": {"x265-params": "log-level=none"}},
    "hevc.mkv": {**HEVC, "options": {"x265-params": "log-level=none:bframes=7:b-pyramid=1"}},
    "layers.mp4": {
        **HEVC,
        "options": {"x265-params": "log-level=none:temporal-layers=3:bframes=7:b-pyramid=1"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "3"}},
    "motion.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
}


@pytest.fixture
def num_given(monkeypatch):
    """Counts the frames that decoders give to PyAV's reader, in a list of one."""
    given, measure = [0], PyavReader._measure

    def counting(self, frame):
        given[0] += 1
        measure(self, frame)

    monkeypatch.setattr(PyavReader, "_measure", counting)
    return given


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_delivered_is_what_decoding_everything_gives(tmp_path, name):
    if SOURCES[name].get("codec") == "libsvtav1" and "libsvtav1" not in av.codecs_available:
        pytest.skip("this build of av writes no AV1")
    path = write_clip(tmp_path / name, noisy_frames(COUNT, 64, 64), **SOURCES[name])
    all_facts, every = decode(path, EVERY, "pyav")
    facts, frames = decode(path, TABLETOP, "pyav")
    wanted = wanted_frames(len(every), TABLETOP)
    assert 0 < wanted.sum() < len(every)
    assert np.array_equal(frames, every[wanted])
    assert np.array_equal(facts.source_frames, all_facts.source_frames)
    assert np.array_equal(facts.source_times_s, all_facts.source_times_s)
    assert facts.info.frames_decoded == len(set(facts.source_frames[wanted].tolist()))
    assert facts.notices == all_facts.notices


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 31, 32, 70, COUNT])
@pytest.mark.parametrize("choice", ["decord", "pyav"])
def test_features_are_those_of_all_frames_bit_for_bit(tmp_path, tiny_encoder, count, choice):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(count, 160, 90), options={"bf": "3"})
    contract = tiny_encoder.contract
    every = decode(path, FeatureContract.from_dict({**contract.to_dict(), "frame_step": 1}))[1]
    extractor = Extractor(tiny_encoder)
    expected = extractor.from_frames([every], video_id="a")
    limits = replace(SHORT, max_decord_mb=0 if choice == "pyav" else 128)
    clip = decode_clip(path, contract, limits)
    assert clip.info.reader == choice
    for track in (extractor.from_clip(clip, video_id="a"), extractor.from_file(path)):
        assert torch.equal(track.features, expected.features)
        assert torch.equal(track.start_s, expected.start_s)
        assert torch.equal(track.end_s, expected.end_s)
        assert (track.num_frames, track.is_padded) == (count, count < 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain.mp4", "pyramid.mp4", "hevc.mp4"])
def test_pictures_that_nothing_refers_to_are_not_decoded(tmp_path, num_given, name):
    path = write_clip(tmp_path / name, noisy_frames(COUNT, 320, 240), **SOURCES[name])
    decode(path, EVERY, "pyav")
    assert num_given == [COUNT]
    num_given[0] = 0
    decode(path, TABLETOP, "pyav")
    assert num_given[0] < 0.85 * COUNT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layers.mp4", "mpeg4.mp4", "h264.avi"])
def test_all_pictures_are_decoded_where_the_mark_is_not_to_be_trusted(tmp_path, num_given, name):
    path = write_clip(tmp_path / name, noisy_frames(COUNT, 160, 96), **SOURCES[name])
    decode(path, TABLETOP, "pyav")
    assert num_given == [COUNT]
