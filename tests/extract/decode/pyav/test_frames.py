"""Frames resized as floats are those of the whole frame, converted by the decoder's own code."""

from dataclasses import replace

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE, SLOWFAST
from extract.decode.resize import Resizer, taps_of
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import decode, four_bytes

SMALL = replace(OMNIVORE, short_side=40, crop_height=31, crop_width=35)


def expected_frames(path, contract, turns):
    """Every frame converted as a whole, then turned, halved, resized and cropped."""
    matrix = "ITU601" if contract.color == "bt601" else None
    made = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray()
            picture = np.rot90(picture, turns)
            if contract.view == "left":
                picture = picture[:, : picture.shape[1] // 2]
            height, width = picture.shape[:2]
            made.append(Resizer(*taps_of(width, height, contract))(four_bytes(picture)))
    return np.stack(made)


def check(path, contract, turns=0):
    facts, frames = decode(path, contract)
    assert facts.info.reader == "pyav"
    assert frames.dtype == np.float32
    assert np.array_equal(frames, expected_frames(path, contract, turns))


@pytest.mark.slow
@pytest.mark.parametrize("contract", [OMNIVORE, SLOWFAST, SMALL], ids=["224", "256", "31 x 35"])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((1280, 720), {}),
        ((322, 182), {}),
        ((90, 160), {}),
        ((64, 48), {}),
        ((300, 42), {}),
        ((83, 61), {"pix_fmt": "yuv444p"}),
        ((322, 182), {"pix_fmt": "yuv420p10le"}),
        ((322, 182), {"pix_fmt": "yuv422p"}),
        ((322, 182), {"pix_fmt": "yuv444p"}),
        ((322, 182), {"pix_fmt": "yuvj420p"}),
        ((322, 182), {"options": {"colorspace": "bt709"}}),
    ],
)
def test_the_part_that_is_looked_at_has_the_pixels_of_the_whole(tmp_path, contract, size, options):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(3, *size), **options)
    check(path, contract)


@pytest.mark.parametrize("size", [(83, 60), (82, 61), (83, 61)])
def test_sides_may_be_odd(tmp_path, size):
    path = write_clip(tmp_path / "a.avi", noisy_frames(3, *size), codec="mpeg4")
    check(path, SMALL)


@pytest.mark.parametrize("tag", ["bt709", "smpte170m"])
def test_the_tag_is_followed_where_the_contract_says_so(tmp_path, tag):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(3, 322, 182), options={"colorspace": tag})
    check(path, replace(OMNIVORE, color="tagged"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(322, 182), (182, 322), (640, 360)])
@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3)])
@pytest.mark.parametrize("view", ["whole", "left"])
def test_turned_and_halved_frames_too(tmp_path, size, rotation, turns, view):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(3, *size), rotation=rotation)
    check(path, replace(OMNIVORE, view=view), turns)
    check(path, replace(SMALL, view=view), turns)


def test_the_left_half_of_a_stereo_frame(tmp_path):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(3, 644, 182))
    check(path, OMNIVORE.for_stereo())
