"""A chosen set is nearer to the samples than any draws, exact, and the same in every batch."""

from itertools import combinations

import pytest
import torch

from model.forecast.choice import choose_futures, choose_set
from model.forecast.edits import future_edits

K = 5


def some_futures(seed=0, num=70, count=16, steps=7):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 4, (2, num, count, steps), generator=generator)
    return {"verb": ids[0], "noun": ids[1]}


def cost(distances, chosen):
    return torch.stack([d[:, c].amin(dim=1).sum() for d, c in zip(distances, chosen, strict=True)])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_no_draws_are_nearer_to_the_samples_than_the_chosen(k):
    distances = future_edits(some_futures())
    chosen = cost(distances, choose_set(distances, k))
    drawn = cost(distances, torch.arange(k).expand(len(distances), k))
    assert (chosen <= drawn).all()
    assert (chosen < drawn).double().mean() > 0.8


def test_the_set_is_close_to_the_best_of_all_sets():
    distances = future_edits(some_futures(num=20, count=10))
    every = torch.tensor(list(combinations(range(10), 3)))
    best = torch.stack([cost(d.expand(len(every), -1, -1), every).min() for d in distances])
    found = cost(distances, choose_set(distances, 3))
    assert (found >= best).all()
    assert found.sum() <= 1.01 * best.sum()


def test_any_distances_even_bad_for_greedy_addition_cost_no_more_than_the_first():
    generator = torch.Generator().manual_seed(1)
    distances = torch.randint(0, 50, (200, 8, 8), generator=generator)
    first = torch.arange(K).expand(200, K)
    assert (cost(distances, choose_set(distances, K)) <= cost(distances, first)).all()


def test_a_choice_does_not_hang_on_its_batch():
    candidates = some_futures()
    together = choose_futures(candidates, K)
    for place in (0, 63, 64, 69):
        alone = choose_futures({n: v[place : place + 1] for n, v in candidates.items()}, K)
        assert all(torch.equal(alone[n][0], together[n][place]) for n in candidates)


def test_chosen_futures_are_candidates_verb_and_noun_together():
    candidates = some_futures(num=3)
    chosen = choose_futures(candidates, K)
    pairs = torch.stack(list(candidates.values()), dim=-1)
    for place, found in enumerate(torch.stack(list(chosen.values()), dim=-1)):
        assert all(any(torch.equal(one, c) for c in pairs[place]) for one in found)


def test_the_first_is_the_most_central_and_all_of_k_are_kept():
    distances = future_edits(some_futures())
    chosen = choose_set(distances, K)
    total = distances.sum(dim=1).gather(1, chosen)
    assert (total.diff(dim=1) >= 0).all()
    assert choose_set(distances[:, :K, :K], K).sort(dim=1).values.tolist() == [[*range(K)]] * 70
