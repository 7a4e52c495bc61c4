"""Drawing is the trained distribution step by step, with drawn steps as the past."""

from dataclasses import replace

import pytest
import torch

from model.config import ForecasterConfig
from model.forecast.drawing import draw_futures
from model.forecast.forecaster import SequenceForecaster
from model.forecast.sampling import one_hot
from tests.model.forecast.test_forecaster import NUM, PAIRS, soft_past


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


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampled_steps_have_the_probabilities_of_training_with_them_as_the_past(
    forecaster, temperature
):
    """The marginals of one future are the distributions of teacher forcing on that future."""
    forecaster.config = replace(forecaster.config, temperature=temperature)
    verb, noun = soft_past(3, 5)
    memory = forecaster.remember(verb, noun, torch.ones(3, 5, dtype=torch.bool))
    rows, marginals = draw_futures(forecaster, memory, torch.rand(3, 1, 6))
    more = steps_of(rows[:, 0])
    verb, noun = torch.cat([verb, more[0]], 1), torch.cat([noun, more[1]], 1)
    generated, copied = forecaster(verb, noun)
    chance = generated + copied @ forecaster.joint(verb, noun)
    chance = chance[:, 4:-1] ** (1 / temperature)
    chance = chance / chance.sum(-1, keepdim=True)
    torch.testing.assert_close(marginals, chance, atol=1e-5, rtol=1e-4)


def test_draws_have_the_marginals_that_are_returned(forecaster):
    memory = forecaster.remember(*soft_past(2, 5), torch.ones(2, 5, dtype=torch.bool))
    rows, marginals = draw_futures(forecaster, memory, torch.rand(2, 4000, 3, dtype=torch.float64))
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
    one, two = draw_futures(forecaster, plain, chances), draw_futures(forecaster, padded, chances)
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])
