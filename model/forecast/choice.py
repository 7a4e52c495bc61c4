"""Choice of K futures as a set: the least expected best-of-K edit distance over samples of a model.

Ego4D scores the best of K hypotheses, so that K draws which resemble each other waste guesses. The
samples stand for the future: the set minimises their mean distance to its nearest member, which is
the k-medoids objective (facility location), by greedy addition and then swaps (PAM, Kaufman and
Rousseeuw 1987).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.forecast.edits import future_edits

CHUNK = 64
"""Samples whose distances are in memory at once."""

MOST_SWAPS = 32


def choose_futures(candidates: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    """Returns k of the sampled futures of every sample, the most typical one first.

    Distances are those of `future_edits`, in whole edits: a sample's choice is exact and does not
    depend on the others.

    Args:
        candidates: output -> (M, N, Z) label ids of N futures.
        k: futures to choose, at most N.

    Returns:
        output -> (M, k, Z).
    """
    chosen = []
    for which in torch.arange(len(next(iter(candidates.values())))).split(CHUNK):
        edits = future_edits({name: values[which] for name, values in candidates.items()})
        chosen.append(choose_set(edits, k))
    rows = torch.cat(chosen).unsqueeze(-1)
    return {
        name: values.gather(1, rows.expand(-1, -1, values.shape[-1]))
        for name, values in candidates.items()
    }


def choose_set(distances: Tensor, k: int) -> Tensor:
    """Returns k of N points with a small sum of distances from all points to their nearest.

    Never a larger sum than that of the first k points.

    Args:
        distances: (M, N, N) whole numbers, of point i to candidate j.
        k: at most N.

    Returns:
        (M, k) positions, the most central point first.
    """
    row = torch.arange(len(distances)).unsqueeze(1)
    chosen = _greedily(distances, k)
    for _ in range(MOST_SWAPS):
        swapped = _swapped(distances, chosen)
        better = _cost(distances, swapped) < _cost(distances, chosen)
        if not better.any():
            break
        chosen = torch.where(better.unsqueeze(1), swapped, chosen)
    first = torch.arange(k).expand_as(chosen)
    worse = _cost(distances, first) < _cost(distances, chosen)
    chosen = torch.where(worse.unsqueeze(1), first, chosen)
    total = distances.sum(dim=1)[row, chosen]
    return chosen.gather(1, total.argsort(dim=1, stable=True))


def _greedily(distances: Tensor, k: int) -> Tensor:
    """Adds, k times, the candidate that lowers the sum most; (M, k)."""
    nearest = torch.full(distances.shape[:2], int(distances.max()) + 1)
    chosen: list[Tensor] = []
    for _ in range(k):
        cost = torch.minimum(nearest.unsqueeze(2), distances).sum(dim=1)  # (M, N)
        if chosen:
            cost.scatter_(1, torch.stack(chosen, dim=1), torch.iinfo(cost.dtype).max)
        best = cost.argmin(dim=1)
        chosen.append(best)
        added = distances.gather(2, best.view(-1, 1, 1).expand(-1, distances.shape[1], 1))
        nearest = torch.minimum(nearest, added.squeeze(2))
    return torch.stack(chosen, dim=1)


def _swapped(distances: Tensor, chosen: Tensor) -> Tensor:
    """The best exchange of one member for any candidate, (M, k)."""
    count, k = distances.shape[1], chosen.shape[1]
    to_chosen = distances.gather(2, chosen.unsqueeze(1).expand(-1, count, -1))  # (M, N, k)
    costs = []
    for left_out in range(k):
        kept = [place for place in range(k) if place != left_out]
        rest = to_chosen[:, :, kept]
        nearest = rest.amin(dim=2) if kept else torch.full_like(to_chosen[:, :, 0], 2**31)
        costs.append(torch.minimum(nearest.unsqueeze(2), distances).sum(dim=1))
    best = torch.stack(costs, dim=1).flatten(1).argmin(dim=1)
    member, candidate = best // count, best % count
    return chosen.scatter(1, member.unsqueeze(1), candidate.unsqueeze(1))


def _cost(distances: Tensor, chosen: Tensor) -> Tensor:
    """Sum over all points of the distance to the nearest chosen one, (M,)."""
    which = chosen.unsqueeze(1).expand(-1, distances.shape[1], -1)
    return distances.gather(2, which).amin(dim=2).sum(dim=1)
