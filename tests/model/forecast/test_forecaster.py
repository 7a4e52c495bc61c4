"""Sampling is the trained distribution step by step, over pairs of training alone, and causal."""

from dataclasses import replace

import pytest
import torch

from model.config import ForecasterConfig
from model.forecast.forecaster import NEAR, SequenceForecaster, _bucket
from model.forecast.sampling import one_hot

NUM = {"verb": 4, "noun": 3}
PAIRS = torch.tensor([[0, 0], [0, 2], [1, 1], [3, 0], [3, 2]])


@pytest.fixture
def forecaster():
    torch.manual_seed(0)
    model = SequenceForecaster(ForecasterConfig(6, 8), PAIRS, NUM)
    with torch.no_grad():
        model.distance.normal_()
    return model.eval()


def steps_of(rows):
    ids = PAIRS[rows]
    return one_hot(ids[..., 0], 4), one_hot(ids[..., 1], 3)


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


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampled_steps_have_the_probabilities_of_training_with_them_as_the_past(
    forecaster, temperature
):
    """The marginals of one future are the distributions of teacher forcing on that future."""
    forecaster.config = replace(forecaster.config, temperature=temperature)
    verb, noun = soft_past(3, 5)
    memory = forecaster.remember(verb, noun, torch.ones(3, 5, dtype=torch.bool))
    rows, marginals = forecaster.sample(memory, torch.rand(3, 1, 6))
    more = steps_of(rows[:, 0])
    verb, noun = torch.cat([verb, more[0]], 1), torch.cat([noun, more[1]], 1)
    generated, copied = forecaster(verb, noun)
    chance = generated + copied @ forecaster.joint(verb, noun)
    chance = chance[:, 4:-1] ** (1 / temperature)
    chance = chance / chance.sum(-1, keepdim=True)
    torch.testing.assert_close(marginals, chance, atol=1e-5, rtol=1e-4)


def test_draws_have_the_marginals_that_are_returned(forecaster):
    memory = forecaster.remember(*soft_past(2, 5), torch.ones(2, 5, dtype=torch.bool))
    rows, marginals = forecaster.sample(memory, torch.rand(2, 4000, 3, dtype=torch.float64))
    assert rows.min() >= 0
    assert rows.max() < len(PAIRS)
    shares = torch.stack([(rows == row).double().mean(dim=1) for row in range(len(PAIRS))], dim=-1)
    torch.testing.assert_close(shares.float(), marginals, atol=0.03, rtol=0)


def test_padding_in_front_changes_nothing(forecaster):
    verb, noun = soft_past(1, 5)
    plain = forecaster.remember(verb, noun, torch.ones(1, 5, dtype=torch.bool))
    pad = torch.zeros(1, 3, 4), torch.zeros(1, 3, 3)
    is_step = torch.tensor([[False] * 3 + [True] * 5])
    padded = forecaster.remember(
        torch.cat([pad[0], verb], 1), torch.cat([pad[1], noun], 1), is_step
    )
    chances = torch.rand(1, 20, 4, dtype=torch.float64)
    one, two = forecaster.sample(plain, chances), forecaster.sample(padded, chances)
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])


def test_near_distances_have_their_own_bias_and_far_ones_share():
    buckets = _bucket(torch.arange(5000))
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
