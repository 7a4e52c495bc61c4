from dataclasses import replace

import pytest
import torch

from extract.contract import OMNIVORE, TABLETOP
from extract.encoders.swin.trunk import OMNIVORE_SWINL, TABLETOP_SWIN, SwinConfig, build_trunk
from extract.encoders.torch_encoder import TorchEncoder, load_encoder


def random_windows(count=3):
    return torch.randint(0, 256, (count, 16, 48, 64, 3), dtype=torch.uint8)


def test_the_omnivore_trunk_has_the_published_size_and_features():
    with torch.device("meta"):
        trunk = build_trunk(OMNIVORE_SWINL)
        feature = trunk.eval()(torch.empty(1, 3, 32, 224, 224))
    assert sum(p.numel() for p in trunk.parameters()) == 196_339_116
    assert feature.shape == (1, 1536)
    assert OMNIVORE_SWINL.dim == 1536


def test_the_tabletop_encoder_gives_one_vector_per_window():
    encoder = TorchEncoder("tabletop", TABLETOP_SWIN, TABLETOP)
    features = encoder.encode(torch.zeros(2, 16, 96, 128, 3, dtype=torch.uint8))
    assert features.shape == (2, encoder.dim) == (2, 192)
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_a_feature_is_the_mean_of_normalised_tokens(tiny_encoder):
    trunk = tiny_encoder.trunk
    with torch.no_grad():
        trunk.norm.weight.zero_()
        trunk.norm.bias.copy_(torch.arange(12.0))
    features = tiny_encoder.encode(random_windows(1))
    torch.testing.assert_close(features, torch.arange(12.0)[None])


def test_features_do_not_depend_on_the_batch(tiny_encoder):
    windows = random_windows(5)
    together = tiny_encoder.encode(windows)
    alone = torch.cat([tiny_encoder.encode(window[None]) for window in windows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_features_depend_on_the_order_of_frames(tiny_encoder):
    windows = random_windows(1)
    assert not torch.allclose(tiny_encoder.encode(windows), tiny_encoder.encode(windows.flip(1)))


def test_windows_of_another_length_are_refused(tiny_encoder):
    with pytest.raises(ValueError, match="16"):
        tiny_encoder.encode(torch.zeros(1, 32, 48, 64, 3, dtype=torch.uint8))


def test_saved_tensors_load_into_an_equal_encoder(tiny_encoder):
    loaded = load_encoder(
        "copy", tiny_encoder.config, tiny_encoder.contract, tiny_encoder.state_dict()
    )
    windows = random_windows()
    assert loaded.fingerprint == tiny_encoder.fingerprint
    assert torch.equal(loaded.encode(windows), tiny_encoder.encode(windows))


def test_half_precision_weights_give_nearly_the_same_float32_features(tiny_encoder):
    windows = random_windows()
    expected = tiny_encoder.encode(windows)
    tiny_encoder.trunk.bfloat16()
    found = tiny_encoder.encode(windows)
    assert found.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.99


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_tensors_that_do_not_fit_are_refused(tiny_encoder, change):
    tensors = tiny_encoder.state_dict()
    if change == "missing":
        del tensors["norm.weight"]
    elif change == "unknown":
        tensors["head.weight"] = torch.zeros(3)
    else:
        tensors["norm.weight"] = torch.zeros(3)
    with pytest.raises(ValueError, match="tiny"):
        load_encoder("tiny", tiny_encoder.config, tiny_encoder.contract, tensors)


def test_the_fingerprint_moves_with_weights_contract_and_configuration(tiny_encoder):
    before = tiny_encoder.fingerprint
    tensors, config, contract = (
        tiny_encoder.state_dict(),
        tiny_encoder.config,
        tiny_encoder.contract,
    )
    other_contract = load_encoder("tiny", config, replace(contract, stride_frames=8), tensors)
    other_config = load_encoder(
        "tiny",
        replace(config, heads=(2, 1)),
        contract,
        {
            **tensors,
            **{
                k: v
                for k, v in TorchEncoder("x", replace(config, heads=(2, 1)), contract)
                .state_dict()
                .items()
                if "bias_table" in k
            },
        },
    )
    with torch.no_grad():
        tiny_encoder.trunk.norm.bias[0] += 1e-3
    after = tiny_encoder.refresh_fingerprint()
    assert len({before, after, other_contract.fingerprint, other_config.fingerprint}) == 4


@pytest.mark.parametrize("config", [OMNIVORE_SWINL, TABLETOP_SWIN])
def test_configurations_survive_a_round_trip(config):
    assert SwinConfig.from_dict(config.to_dict()) == config


def test_unknown_configuration_keys_are_refused():
    with pytest.raises(ValueError, match="expected trunk keys"):
        SwinConfig.from_dict(OMNIVORE_SWINL.to_dict() | {"mlp_ratio": 4})


def test_contracts_survive_a_round_trip():
    for contract in (OMNIVORE, TABLETOP):
        assert type(contract).from_dict(contract.to_dict()) == contract
    with pytest.raises(ValueError, match="unknown"):
        type(OMNIVORE).from_dict(OMNIVORE.to_dict() | {"gamma": 2})
