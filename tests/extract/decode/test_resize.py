"""Resizing as floats: as torch does it, and from no more than it looks at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from extract.contract import OMNIVORE, SLOWFAST, crop_offset, resized_size
from extract.decode.resize import Resizer, taps_of
from extract.encoders.preprocess import to_network_input, to_pixels
from tests.extract.support.decoded import four_bytes

SIZES = [
    (1920, 1080),
    (1080, 1920),
    (960, 540),
    (1440, 1080),
    (641, 479),
    (320, 180),
    (57, 100),
    (256, 256),
    (1000, 255),
    (1, 1),
]


def whole_frames(count, width, height):
    generator = torch.Generator().manual_seed(width)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def as_readers_do(frames, contract):
    resized = Resizer(*taps_of(frames.shape[2], frames.shape[1], contract))
    return torch.from_numpy(
        np.stack([resized(four_bytes(frame.numpy())).copy() for frame in frames])
    )


@pytest.mark.slow
@pytest.mark.parametrize("contract", [OMNIVORE, SLOWFAST], ids=["omnivore", "slowfast"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_whole_frames_and_those_of_readers_give_what_torch_gives(width, height, contract):
    frames = whole_frames(2, width, height)
    floats = frames.permute(3, 0, 1, 2).double() / 255
    mean, std = (torch.tensor(v).double().view(3, 1, 1, 1) for v in (contract.mean, contract.std))
    new_width, new_height = resized_size(width, height, contract)
    normalised = ((floats - mean) / std).float()
    expected = F.interpolate(normalised, (new_height, new_width), mode="bilinear")
    x, y = crop_offset(new_width, new_height, contract)
    expected = expected[:, :, y : y + contract.crop_height, x : x + contract.crop_width]

    whole = to_pixels(frames, contract)
    torch.testing.assert_close(whole, expected, atol=2e-6, rtol=0)
    assert torch.equal(to_pixels(as_readers_do(frames, contract), contract), whole)


def test_windows_of_both_kinds_become_the_same_input():
    frames = whole_frames(6, 320, 180)
    whole = frames.unflatten(0, (2, 3))
    resized = as_readers_do(frames, OMNIVORE).unflatten(0, (2, 3))
    found = to_network_input(whole, OMNIVORE)
    assert found.shape == (2, 3, 3, 224, 224)
    assert torch.equal(to_network_input(resized, OMNIVORE), found)


def test_a_picture_may_lie_in_memory_as_it_likes():
    """Padded rows, as FFmpeg has them, another padding after it, and every turn."""
    frame = four_bytes(whole_frames(1, 320, 180)[0].numpy())
    resized = Resizer(*taps_of(320, 180, OMNIVORE))
    expected = resized(frame).copy()
    for padding in (7, 64):
        memory = np.full((180, 320 + padding, 4), 255, np.uint8)
        padded = memory[:, :320]
        padded[:] = frame
        assert np.array_equal(resized(padded), expected)
    for turns in range(4):
        turned = np.rot90(np.ascontiguousarray(np.rot90(frame, -turns)), turns)
        assert np.array_equal(resized(turned), expected)
        flipped = np.ascontiguousarray(turned[:, ::-1])[:, ::-1]
        assert np.array_equal(resized(flipped), expected)


def test_frames_are_not_written_into():
    frames = as_readers_do(whole_frames(3, 320, 180), OMNIVORE)
    before = frames.clone()
    to_pixels(frames, OMNIVORE)
    to_network_input(frames[None], OMNIVORE)
    assert torch.equal(frames, before)


@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    short=st.integers(1, 300),
    data=st.data(),
)
def test_taps_lie_in_the_source_and_never_go_back(width, height, short, data):
    crop = data.draw(st.integers(1, short))
    contract = replace(OMNIVORE, short_side=short, crop_height=crop, crop_width=crop)
    for taps, size in zip(taps_of(width, height, contract), (height, width), strict=True):
        below, above = np.split(taps.places, 2)
        assert len(taps.weights) == crop
        assert below.min() >= 0
        assert above.max() < size
        assert (np.diff(below) >= 0).all()
        assert ((above == below + 1) | (above == size - 1)).all()
        assert (taps.weights >= 0).all()
        assert (taps.weights < 1).all()


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 224, 224, 3, dtype=torch.float64),
        torch.zeros(2, 256, 256, 3),
        torch.zeros(2, 224, 224, 4, dtype=torch.uint8),
    ],
)
def test_frames_of_neither_kind_are_refused(frames):
    with pytest.raises(ValueError, match="expected float32 frames of .*, or whole uint8 ones"):
        to_pixels(frames, OMNIVORE)
