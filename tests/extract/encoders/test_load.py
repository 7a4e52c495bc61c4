import pytest
import torch

from extract.encoders.load import encoder_from_spec, encoder_spec


def test_an_encoder_is_rebuilt_from_its_description(tiny_encoder):
    rebuilt = encoder_from_spec(encoder_spec(tiny_encoder), tiny_encoder.state_dict())
    windows = torch.randint(0, 256, (1, 16, 48, 64, 3), dtype=torch.uint8)
    assert rebuilt.name == "tiny"
    assert rebuilt.contract == tiny_encoder.contract
    assert torch.equal(rebuilt.encode(windows), tiny_encoder.encode(windows))


def test_tensors_that_are_not_the_described_ones_are_refused(tiny_encoder):
    spec = encoder_spec(tiny_encoder)
    tensors = tiny_encoder.state_dict()
    tensors["norm.bias"] = tensors["norm.bias"] + 1
    with pytest.raises(ValueError, match="fingerprint"):
        encoder_from_spec(spec, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "resnet"}, "resnet"), ({"config": {"patch": [1]}}, "trunk keys")],
)
def test_descriptions_of_unknown_encoders_are_refused(tiny_encoder, change, message):
    with pytest.raises(ValueError, match=message):
        encoder_from_spec(encoder_spec(tiny_encoder) | change, tiny_encoder.state_dict())


def test_a_description_that_lacks_something_is_refused(tiny_encoder):
    spec = encoder_spec(tiny_encoder)
    del spec["contract"]
    with pytest.raises(ValueError, match="lacks contract"):
        encoder_from_spec(spec, tiny_encoder.state_dict())
