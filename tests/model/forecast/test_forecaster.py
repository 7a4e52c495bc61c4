"""The forecaster's distribution is one, over pairs of training alone, and causal."""

import pytest
import torch

from model.config import ForecasterConfig
from model.forecast.forecaster import NEAR, SequenceForecaster, distance_bucket

NUM = {"verb": 4, "noun": 3}
PAIRS = torch.tensor([[0, 0], [0, 2], [1, 1], [3, 0], [3, 2]])


@pytest.fixture
def forecaster():
    torch.manual_seed(0)
    model = SequenceForecaster(ForecasterConfig(6, 8), PAIRS, NUM)
    with torch.no_grad():
        model.distance.normal_()
    return model.eval()


def soft_past(num, length, seed=1):
    generator = torch.Generator().manual_seed(seed)
    verb = torch.randn(num, length, 4, generator=generator).softmax(-1)
    return verb, torch.randn(num, length, 3, generator=generator).softmax(-1)


def test_both_parts_together_are_a_distribution(forecaster):
    generated, copied = forecaster(*soft_past(2, 7))
    total = generated.sum(-1) + copied.sum(-1)
    torch.testing.assert_close(total, torch.ones(2, 7))
    assert (copied.triu(diagonal=1) == 0).all()
    joint = forecaster.joint(*soft_past(2, 7))
    torch.testing.assert_close(joint.sum(-1), torch.ones(2, 7))
    verb, noun = soft_past(2, 7)
    product = verb[..., PAIRS[:, 0]] * noun[..., PAIRS[:, 1]]
    torch.testing.assert_close(joint, product / product.sum(-1, keepdim=True))


def test_no_step_sees_what_comes_later(forecaster):
    verb, noun = soft_past(1, 9)
    before = forecaster(verb, noun)
    verb[:, 6:], noun[:, 6:] = verb[:, 6:].flip(-1), noun[:, 6:].flip(-1)
    after = forecaster(verb, noun)
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one[:, :6], two[:, :6])
        assert not torch.equal(one[:, 6:], two[:, 6:])


def test_near_distances_have_their_own_bias_and_far_ones_share():
    buckets = distance_bucket(torch.arange(5000))
    assert buckets[:NEAR].tolist() == list(range(NEAR))
    assert (buckets.diff() >= 0).all()
    assert buckets[2 * NEAR] == NEAR + 2
    assert buckets.max() < NEAR + 16 + 1


@pytest.mark.parametrize(
    "wrong", [{"hidden_size": 1}, {"embedding_size": 0}, {"dropout": 1.0}, {"temperature": 0.0}]
)
def test_a_config_that_no_forecaster_can_have_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ForecasterConfig.from_dict(wrong)
    assert ForecasterConfig.from_dict(ForecasterConfig().to_dict()) == ForecasterConfig()
