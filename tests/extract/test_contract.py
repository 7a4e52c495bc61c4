from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.contract import (
    OMNIVORE,
    SLOWFAST,
    TABLETOP,
    FeatureContract,
    crop_offset,
    resized_size,
)
from extract.encoders.torch_encoder import encoder_fingerprint
from tests.extract.conftest import TINY_SWIN

CHANGES = {
    "fps": 25,
    "window_frames": 16,
    "stride_frames": 8,
    "frame_step": 4,
    "short_side": 224,
    "crop_height": 200,
    "crop_width": 200,
    "resize": "decoder",
    "color": "tagged",
    "view": "left",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2),
}


def fingerprint(contract):
    return encoder_fingerprint(TINY_SWIN, contract, {})


def test_every_field_decides_the_fingerprint():
    assert CHANGES.keys() == asdict(OMNIVORE).keys()
    changed = [replace(OMNIVORE, **{name: value}) for name, value in CHANGES.items()]
    assert len({fingerprint(contract) for contract in (OMNIVORE, *changed)}) == len(CHANGES) + 1


@pytest.mark.parametrize("contract", [OMNIVORE, SLOWFAST, TABLETOP])
def test_a_contract_survives_a_round_trip(contract):
    for one in (contract, contract.for_stereo()):
        assert FeatureContract.from_dict(one.to_dict()) == one


def test_contracts_written_before_there_was_a_view_mean_the_whole_frame():
    assert "view" not in OMNIVORE.to_dict()
    assert FeatureContract.from_dict(OMNIVORE.to_dict()).view == "whole"


@pytest.mark.parametrize(
    ("width", "height", "resized", "offset"),
    [
        (1920, 1080, (455, 256), (116, 16)),
        (1280, 720, (455, 256), (116, 16)),
        (1440, 1080, (341, 256), (58, 16)),
        (640, 480, (341, 256), (58, 16)),
        (1920, 1440, (341, 256), (58, 16)),
        (1404, 1080, (332, 256), (54, 16)),
        (1080, 1920, (256, 455), (16, 116)),
    ],
)
def test_float_resize_has_the_sizes_and_crops_of_the_published_features(
    width, height, resized, offset
):
    assert resized_size(width, height, OMNIVORE) == resized
    assert crop_offset(*resized, OMNIVORE) == offset


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (960, 540, (170, 96)),
        (640, 480, (128, 96)),
        (540, 960, (128, 228)),
        (500, 500, (128, 128)),
        (1, 1, (128, 128)),
    ],
)
def test_decoder_resize_is_the_smallest_that_covers_the_crop(width, height, resized):
    assert resized_size(width, height, TABLETOP) == resized


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_the_crop_always_fits_and_is_centred(width, height):
    new_width, new_height = resized_size(width, height, TABLETOP)
    assert new_width % 2 == new_height % 2 == 0
    x, y = crop_offset(new_width, new_height, TABLETOP)
    assert abs(x - (new_width - TABLETOP.crop_width - x)) <= 1
    assert abs(y - (new_height - TABLETOP.crop_height - y)) <= 1


def test_a_crop_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        crop_offset(100, 96, TABLETOP)
