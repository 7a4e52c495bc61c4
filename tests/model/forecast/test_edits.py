"""Bit-parallel edit distances are those of the table, at any length."""

import pytest
import torch

from model.evaluate.metrics import edit_distance_curves
from model.forecast.edits import future_edits, pairwise_edits


def by_table(sequences):
    """Every distance from the dynamic programming table that scores hypotheses."""
    num, count, length = sequences.shape
    edits = torch.zeros(num, count, count)
    for other in range(count):
        for one in range(count):
            curve = edit_distance_curves(sequences[:, one : one + 1], sequences[:, other])
            edits[:, one, other] = torch.from_numpy(curve[:, -1]) * length
    return edits.round().long()


@pytest.mark.parametrize("symbols", [1, 2, 6, 1000])
@pytest.mark.parametrize("length", [1, 2, 20, 63, 64, 65, 90])
def test_distances_are_those_of_the_table(length, symbols):
    generator = torch.Generator().manual_seed(length)
    sequences = torch.randint(0, symbols, (3, 4, length), generator=generator)
    assert torch.equal(pairwise_edits(sequences), by_table(sequences))


def test_a_shift_by_one_costs_two():
    future = torch.arange(20)
    shifted = torch.cat([torch.tensor([99]), future[:-1]])
    assert pairwise_edits(torch.stack([future, shifted])[None])[0, 0, 1] == 2


def test_verb_noun_and_action_edits_are_added():
    generator = torch.Generator().manual_seed(0)
    verb, noun = torch.randint(0, 3, (2, 5, 6, 8), generator=generator)
    both = pairwise_edits(verb) + pairwise_edits(noun) + pairwise_edits(10 * verb + noun)
    assert torch.equal(future_edits({"verb": verb, "noun": noun}), both)
    assert torch.equal(future_edits({"verb": verb}), pairwise_edits(verb))
