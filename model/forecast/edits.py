"""Levenshtein distances between all pairs of sampled futures, bit-parallel and batched.

Myers' bit-vector algorithm (J. ACM 1999) in Hyyro's form for whole sequences: a column of the
dynamic programming table is two machine words, so that a step of 780 pairs is a dozen operations.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WORD = 64
"""Symbols of a sequence, one bit each, in machine words; longer ones take Python's integers."""

_Words = NDArray[np.uint64] | NDArray[np.object_]


def pairwise_edits(sequences: Tensor) -> Tensor:
    """Returns the edit distance of every pair of equally long sequences of a sample.

    Plain Levenshtein, as `model.evaluate.metrics.edit_distance_curves` has it.

    Args:
        sequences: (M, N, Z) non-negative symbols of N sequences of each sample.

    Returns:
        (M, N, N) int64, symmetric, zero on the diagonal.
    """
    num, count, length = sequences.shape
    first, second = np.triu_indices(count, k=1)
    same = _same_symbols(sequences, first, second)
    edits = np.zeros((num, count, count), dtype=np.int64)
    edits[:, first, second] = edits[:, second, first] = _distances(same, length)
    return torch.from_numpy(edits)


def future_edits(futures: Mapping[str, Tensor]) -> Tensor:
    """Returns the distance of every two futures: edits of each output and of their tuple.

    Divided by Z and the number of terms this is the mean of the verb, noun and action distances,
    the average of what Ego4D's leaderboard reports.

    Args:
        futures: output -> (M, N, Z) label ids.

    Returns:
        (M, N, N) int64.
    """
    sequences = list(futures.values())
    edits = torch.stack([pairwise_edits(values) for values in sequences]).sum(dim=0)
    if len(sequences) == 1:
        return edits
    joint = sequences[0]
    for other in sequences[1:]:
        joint = joint * (int(other.max()) + 1) + other
    return edits + pairwise_edits(joint)


def _same_symbols(sequences: Tensor, first: NDArray[np.int64], second: NDArray[np.int64]) -> _Words:
    """Where the first sequence of a pair has each symbol of the second, (Z, M, pairs) bit masks."""
    num, count, length = sequences.shape
    symbols, place = np.unique(sequences.numpy(), return_inverse=True)
    place = place.reshape(num, count, length)
    masks: _Words = np.zeros(
        (num, count, len(symbols)), dtype=np.uint64 if length <= WORD else object
    )
    sample, row = np.ogrid[:num, :count]
    for step in range(length):
        masks[sample, row, place[:, :, step]] |= 1 << step
    wanted = place[:, second].transpose(2, 0, 1)  # (Z, M, pairs)
    return masks[np.arange(num)[None, :, None], first[None, None, :], wanted]


def _distances(same: _Words, length: int) -> NDArray[np.int64]:
    """Distances from the masks, (M, pairs); names are those of Hyyro's paper."""
    every = 2**length - 1
    up: _Words = np.full_like(same[0], every)
    down: _Words = np.zeros_like(up)
    distance = np.full(up.shape, length, dtype=np.int64)
    for equal in same:
        diagonal = (((equal & up) + up) ^ up) | equal | down
        rise = down | (every & ~(diagonal | up))
        fall = diagonal & up
        distance += ((rise >> (length - 1)) & 1).astype(np.int64)
        distance -= ((fall >> (length - 1)) & 1).astype(np.int64)
        rise = every & ((rise << 1) | 1)
        up = every & ((fall << 1) | ~(diagonal | rise))
        down = rise & diagonal
    return distance
