from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from extract.contract import OMNIVORE
from extract.decode.clip import Limits
from extract.decode.decord_reader import DecordReader, DecordTrouble
from extract.decode.demux import scan_packets
from extract.decode.video import decode_clip
from extract.errors import VideoRejected
from extract.features.extractor import Extractor
from tests.extract.decode.clip_checks import codes, noisy, numbers
from tests.extract.support.decoded import EVERY, decode


def test_a_clip_too_large_for_decord_is_read_by_pyav(clips):
    clip = decode_clip(clips / "plain.mp4", EVERY, Limits(max_decord_mb=1))
    assert clip.info.reader == "pyav"
    assert numbers(clip.frames) == list(range(100))


def test_pyav_takes_over_when_decord_gives_up_half_way(clips, monkeypatch):
    read = DecordReader.frames

    def fail_late(self, repeats):
        for index, frame in read(self, repeats):
            if index == 70:
                raise DecordTrouble("repeated frames")
            yield index, frame

    monkeypatch.setattr(DecordReader, "frames", fail_late)
    clip = decode_clip(clips / "plain.mp4", EVERY, Limits())
    assert codes(clip) == ["reader-fallback"]
    assert clip.info.reader == "pyav"
    assert numbers(clip.frames) == list(range(100))


def test_decord_reports_a_number_of_frames_it_did_not_expect(clips):
    path = clips / "plain.mp4"
    report = scan_packets(path, "mp4", Limits())
    report = replace(report, times_s=report.times_s[:99])
    reader = DecordReader(path, report, EVERY, Limits(), width=64, height=48)
    with pytest.raises(DecordTrouble, match="100 frames instead of 99"):
        next(reader.frames(np.ones(99, dtype=np.int64)))


ORDINARY = {
    "a.mp4": {},
    "a.mov": {},
    "a.mkv": {},
    "b-frames.mp4": {"options": {"bf": "3", "g": "20"}},
    "pyramid.mp4": {"options": {"bf": "8", "x264-params": "b-pyramid=normal:ref=4"}},
    "open-gop.mkv": {"options": {"bf": "3", "x264-params": "open-gop=1:keyint=20"}},
    "interlaced.mp4": {"size": (160, 96), "options": {"x264-params": "interlaced=1:bframes=3"}},
    "uneven.mp4": {"times_ms": [33 * k + 9 * (k % 3) for k in range(71)]},
    "one-key-frame.mp4": {"options": {"g": "1000", "bf": "0"}},
    "fragmented.mp4": {
        "options": {"bf": "0"},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "index-first.mp4": {"container_options": {"movflags": "faststart"}},
    "repeated-head.mp4": {"options": {"x264-params": "repeat-headers=1:annexb=0", "g": "10"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "ten-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "full-chroma.mp4": {"pix_fmt": "yuv444p"},
    "bt709.mp4": {"options": {"colorspace": "bt709"}},
    "odd.mp4": {"size": (83, 61), "pix_fmt": "yuv444p"},
    "portrait.mp4": {"size": (90, 160)},
    "wide.mp4": {"size": (300, 40)},
    "turned.mp4": {"rotation": 90},
    "short.mp4": {"count": 5},
    "25fps.mp4": {"rate": 25},
    "ntsc.mp4": {"rate": Fraction(30000, 1001)},
    "60fps.mp4": {"rate": 60},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDINARY)
def test_decord_and_pyav_give_the_same_pixels_and_features(tmp_path, tiny_encoder, name):
    path = noisy(tmp_path / name, **ORDINARY[name])
    contract = tiny_encoder.contract
    by_decord, decord_frames = decode(path, contract, "decord")
    by_pyav, pyav_frames = decode(path, contract, "pyav")

    assert (by_decord.info.reader, by_pyav.info.reader) == ("decord", "pyav")
    assert decode(path, contract)[0].info.reader == "decord"
    assert np.array_equal(decord_frames, pyav_frames)
    assert np.array_equal(by_decord.source_frames, by_pyav.source_frames)
    assert replace(by_decord.info, reader="pyav") == by_pyav.info
    tracks = [
        Extractor(tiny_encoder).from_frames([frames], video_id="a")
        for frames in (decord_frames, pyav_frames)
    ]
    assert torch.equal(tracks[0].features, tracks[1].features)


def test_decord_is_refused_for_a_contract_it_cannot_keep(tmp_path):
    path = noisy(tmp_path / "a.mp4")
    with pytest.raises(VideoRejected, match="decord is known to read such a file wrong"):
        decode(path, OMNIVORE, "decord")
    assert decode(path, OMNIVORE)[0].info.reader == "pyav"
