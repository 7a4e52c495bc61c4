"""Which reader reads what, and that it makes no difference."""

import ctypes
import sys

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE
from extract.decode.clip import Limits
from extract.decode.pyav.geometry import display_matrix
from extract.decode.pyav.reader import nvdec
from extract.decode.video import decode_into
from extract.errors import DecoderUnavailable
from tests.extract.decode.clip_checks import noisy
from tests.extract.support.decoded import Frames, decode


def test_blocks_of_large_frames_are_small(tmp_path):
    sink = Frames()
    path = noisy(tmp_path / "a.mp4", count=33)
    decode_into(path, OMNIVORE, Limits(), sink)
    assert [len(block) for block in sink.blocks] == [13, 13, 7]
    assert sink.expected == 33


@pytest.mark.parametrize("absent", ["libcuda.so.1", "libnvcuvid.so.1"])
def test_nvdec_says_which_library_of_the_driver_is_missing(monkeypatch, absent):
    def load(name):
        if name == absent:
            raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(DecoderUnavailable, match=f"{absent} is missing .*; use reader auto"):
        nvdec()


def test_nvdec_says_that_the_build_of_av_lacks_it(monkeypatch):
    monkeypatch.setattr("extract.decode.pyav.reader.hwdevices_available", lambda: ["vaapi"])
    with pytest.raises(DecoderUnavailable, match="this build of av lacks CUDA"):
        nvdec()


@pytest.mark.gpu
def test_nvdec_gives_the_pixels_of_the_cpu(tmp_path):
    path = noisy(tmp_path / "a.mp4", size=(320, 240))
    assert np.array_equal(decode(path, choice="nvdec")[1], decode(path, choice="pyav")[1])


def test_looking_at_how_a_frame_is_turned_does_not_keep_it(tmp_path):
    """Decoders reuse the memory of frames that are let go, and run at half the speed without."""
    path = noisy(tmp_path / "a.mp4")
    with av.open(str(path)) as source:
        frame = next(source.decode(video=0))
    before = sys.getrefcount(frame)
    assert display_matrix(frame) is None
    assert sys.getrefcount(frame) == before
