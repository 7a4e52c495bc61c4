import pytest
import torch
from scipy.stats import binomtest

from model.train.new_skill.confidence import (
    LEAST_FOR_TEMPERATURE,
    PRIOR_TEMPERATURE,
    choose_temperature,
    judge,
    wilson,
)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 5), (5, 5), (40, 50)])
def test_the_interval_is_wilsons(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def answers(right, count):
    """Two classes; the first `right` rows are predicted."""
    labels = torch.arange(count) % 2
    told = torch.where(torch.arange(count) < right, labels, 1 - labels)
    return torch.nn.functional.one_hot(told).double() * 3, labels


@pytest.mark.parametrize(
    ("right", "count", "words"),
    [
        (45, 50, "It has learnt something"),
        (27, 50, "Too few labels to say whether it has learnt anything"),
        (5, 50, "It is worse than that"),
    ],
)
def test_words_follow_from_the_interval(right, count, words):
    held_out = answers(right, count)
    found = judge(held_out, answers(3, count)[0], held_out[1])
    assert found.metrics()["top1"] == right / count
    assert found.metrics()["head_top1"] == 3 / count
    assert words in found.words()


def test_nothing_held_out_is_said_so():
    found = judge(None, None, torch.arange(3))
    assert found.metrics() == {}
    assert "too few to say" in found.words()


def test_few_labels_keep_the_prior_temperature():
    few, many = (answers(int(0.6 * n), n) for n in (LEAST_FOR_TEMPERATURE - 1, 200))
    assert choose_temperature(None).entry() == {"temperature": PRIOR_TEMPERATURE}
    assert choose_temperature(few).ece is None
    fitted = choose_temperature(many)
    assert fitted.value > 2  # says 0.95, is right in 0.6
    assert fitted.ece[1] < fitted.ece[0]
