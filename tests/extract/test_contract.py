from dataclasses import asdict, replace

import pytest

from extract.contract import OMNIVORE, SLOWFAST, TABLETOP, FeatureContract
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
