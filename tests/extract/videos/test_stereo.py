"""A stereo recording shows both eyes side by side; the left one stands for the whole frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from extract.contract import OMNIVORE, TABLETOP
from extract.decode.clip import TRUSTED
from extract.decode.video import decode_clip
from extract.features.extractor import Extractor
from extract.sandbox.pool import DecodePool
from tests.extract.support.clips import numbered_frame, read_number, write_clip

LOSSLESS = {"qp": "0", "preset": "ultrafast"}
MIRRORED = replace(TABLETOP, short_side=48, crop_height=48, crop_width=64)


def textured(number, width, height):
    y, x = np.mgrid[0:height, 0:width]
    colour = np.stack([x * 2 + number * 9, y * 3, x + y + number * 4], axis=-1)
    return (np.abs(colour % 200 - 100) + 60).astype(np.uint8)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The same recording with one eye, and with another one at its right."""
    folder = tmp_path_factory.mktemp("stereo")
    left = [textured(k, 128, 96) for k in range(40)]
    right = [numbered_frame(k, 128, 96) for k in range(40)]
    both = [np.hstack(pair) for pair in zip(left, right, strict=True)]
    for name, frames in (("mono", left), ("stereo", both)):
        write_clip(folder / f"{name}.mp4", frames, options=LOSSLESS, pix_fmt="yuv444p")
    return folder


@pytest.mark.parametrize("contract", [OMNIVORE, MIRRORED], ids=["float", "decoder"])
def test_the_left_half_is_read_as_if_it_were_the_whole_frame(clips, contract):
    mono = decode_clip(clips / "mono.mp4", replace(contract, color="bt601"), TRUSTED)
    stereo = decode_clip(
        clips / "stereo.mp4", replace(contract, color="bt601").for_stereo(), TRUSTED
    )
    assert np.array_equal(stereo.frames, mono.frames)
    assert (stereo.info.width, stereo.info.height) == (128, 96)
    assert stereo.info.reader == "pyav"


def test_features_are_those_of_the_left_eye_and_of_the_same_encoder(clips, tiny_encoder):
    extractor = Extractor(tiny_encoder)
    mono = extractor.from_file(clips / "mono.mp4")
    contract = tiny_encoder.contract.for_stereo()
    stereo = extractor.from_clip(decode_clip(clips / "stereo.mp4", contract, TRUSTED), video_id="v")
    assert torch.equal(mono.features, stereo.features)
    assert mono.encoder == stereo.encoder


def test_a_rotated_recording_is_turned_before_it_is_halved(tmp_path):
    shown = np.hstack([numbered_frame(5, 64, 96), numbered_frame(200, 64, 96)])
    stored = np.rot90(shown, -1)  # a player turns it by 90 degrees counter-clockwise
    write_clip(tmp_path / "turned.mp4", [stored.copy()] * 33, rotation=90)
    for contract in (OMNIVORE, replace(MIRRORED, crop_width=32)):
        clip = decode_clip(tmp_path / "turned.mp4", contract.for_stereo(), TRUSTED)
        assert (clip.info.width, clip.info.height) == (64, 96)
        if contract is OMNIVORE:
            assert read_number(clip.frames[0]) == 5


def test_an_odd_width_loses_its_middle_column(tmp_path):
    frames = [np.full((48, 65, 3), 90, np.uint8)] * 33
    write_clip(tmp_path / "odd.mp4", frames, pix_fmt="yuv444p")
    clip = decode_clip(tmp_path / "odd.mp4", OMNIVORE.for_stereo(), TRUSTED)
    assert (clip.info.width, clip.info.height) == (32, 48)


def test_a_decoding_process_takes_the_left_half_too(clips):
    with DecodePool(workers=1, limits=replace(TRUSTED, max_output_mb=512)) as pool:
        clip = pool.decode(clips / "stereo.mp4", OMNIVORE.for_stereo(), timeout_s=60)
    expected = decode_clip(clips / "stereo.mp4", OMNIVORE.for_stereo(), TRUSTED)
    assert np.array_equal(clip.frames, expected.frames)
