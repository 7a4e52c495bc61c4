"""What extraction is measured against computes what ours computes, on the videos it says."""

import argparse
import sys
from dataclasses import replace

import pytest
import torch

from bench.features import decode, extract
from bench.videos import repeat_video, write_video
from extract.contract import TABLETOP
from extract.decode.clip import TRUSTED
from extract.decode.video import decode_clip


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_the_plain_way_gives_the_same_features():
    arguments = argparse.Namespace(
        bundle=extract.SHIPPED_BUNDLE, seconds=1.5, rounds=1, long_minutes=0
    )
    figures = extract.run(arguments)
    assert figures["speed"]["windows"] == 2
    assert figures["speed"]["greatest_difference"] <= extract.TOLERANCE
    assert "not measured" in extract.table(figures)


@pytest.mark.slow
def test_readers_are_measured_beside_bare_decoding(monkeypatch):
    monkeypatch.setattr(decode, "SIZES", {"small": (320, 180)})
    figures = decode.run(argparse.Namespace(seconds=1.0, rounds=1))
    assert set(figures["rows"]["small"]["ratio"]) == {
        "pyav, tabletop",
        "decord, tabletop",
        "pyav, omnivore",
        "pyav, slowfast",
        decode.WHOLE,
    }
    assert "goal >= 0.85" in decode.table(figures)


def test_a_video_is_repeated_without_a_seam(tmp_path):
    once = write_video(tmp_path / "a.mp4", 160, 120, seconds=2)
    thrice = repeat_video(once, tmp_path / "b.mp4", 3)
    clip = decode_clip(thrice, replace(TABLETOP, frame_step=1), TRUSTED)
    assert clip.info.frames_decoded == 180
    assert clip.notices == ()
    assert (clip.frames.reshape(3, -1)[0] == clip.frames.reshape(3, -1)[2]).all()


@pytest.mark.slow
def test_memory_is_that_of_a_command_and_its_children():
    child = "x = bytearray(80 << 20); import time; time.sleep(1.5)"
    alone = extract.peak_mb([sys.executable, "-c", child])
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    both = extract.peak_mb([sys.executable, "-c", parent])
    assert 80 < alone <= both < alone + 60
