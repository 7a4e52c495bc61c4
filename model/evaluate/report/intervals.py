"""Bootstrap confidence intervals: of a mean of per-sample values, of a paired difference."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.evaluate.metrics import Values

Resample = Literal["video", "sample"]
"""What the bootstrap draws with replacement."""

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 2**22  # drawn indices in memory at once


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def interval(
    values: Values,
    groups: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval | None:
    """Returns the percentile bootstrap interval of a mean; None below two groups.

    Samples of one video resemble each other (LTA's windows even overlap), so whole groups are
    drawn, with replacement. Groups of one sample each give the plain bootstrap.

    Args:
        values: (M,) one value per sample.
        groups: (M,) samples with the same number are drawn together.
        draws: resampled splits.
        level: share of the resampled means inside the interval.
        seed: of the draws.
    """
    return paired_interval(values[None], groups, draws=draws, level=level, seed=seed)


def paired_interval(
    differences: Values,
    groups: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval | None:
    """Returns the interval of the mean difference of two trained methods; None below two groups.

    Groups of samples are drawn as in `interval`, the same for every training seed, and training
    seeds are drawn, too. Whatever makes a video hard, or a seed good, for both methods cancels.

    Args:
        differences: (S, M) value of one method minus that of the other, for each seed and sample.
        groups: (M,) samples with the same number are drawn together.
        draws: resampled splits.
        level: share of the resampled differences inside the interval.
        seed: of the draws.
    """
    if len(np.unique(groups)) < 2:
        return None
    means = np.stack([resampled_means(d, groups, draws=draws, seed=seed) for d in differences])
    picked = np.random.default_rng([seed, 1]).integers(len(means), size=means.T.shape)
    mixed = np.take_along_axis(means.T, picked, axis=1).mean(axis=1)
    low, high = np.quantile(mixed, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def resampled_means(
    values: Values, groups: NDArray[np.int64], *, draws: int, seed: int
) -> NDArray[np.float64]:
    """Returns the mean over samples of every resampled split, (draws,)."""
    _, member = np.unique(groups, return_inverse=True)
    count = np.bincount(member)
    total = np.bincount(member, weights=values)
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    for part in np.array_split(means, -(-draws * len(count) // _CHUNK)):  # views of `means`
        picked = generator.integers(len(count), size=(len(part), len(count)))
        part[:] = total[picked].sum(axis=1) / count[picked].sum(axis=1)
    return means
