"""Learning curve of a skill: accuracy by number of labels, and what ten more would likely bring.

The labels are split into folds by video several times over. Of each fold's training labels a
quarter, a half, three quarters and all are learnt from, drawn with every class among the first, by
the voters with the weights that all labels chose; the fold that was held out is answered. Accuracy
then follows a - b / sqrt(labels), b at least 0, as the error of an estimate from independent labels
does: the exponent is given and not fitted, since so few points cannot tell it. The interval of a
forecast is the wider one of the bootstrap over labels, which refits the curve, and of Wilson's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.data.samples import Samples
from model.nn.few_labels.panel import Panel
from model.nn.few_labels.voters import FewLabels, cast_votes, fit_voter
from model.nn.few_labels.weigh import fold_masks
from model.nn.skill_set import Backbone
from model.train.new_skill.confidence import wilson
from model.train.new_skill.few_labels import classes_of, rows_of, videos_of

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the training labels of a fold."""

REPEATS = (2, 10)
"""Of the folds, each dealt out anew: fewest and most."""

ANSWERS = 200
"""Held-out answers of each size from which on the fewest repeats do."""

MORE = 10
"""Labels that the forecast adds."""

LEAST, MOST = 8, 200
"""Labels from which and up to which there is a curve: more are not few, and take minutes."""

RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Curve:
    """Held-out answers of skills that were learnt from fewer labels.

    Attributes:
        sizes: (S,) labels that were learnt from, means over the folds, increasing.
        hits: (S, R) how often each held-out label was predicted, over the repeats.
        num_labels: labels there are in all.
    """

    sizes: Tensor
    hits: Tensor
    num_labels: int

    def points(self) -> list[dict[str, float]]:
        """Returns accuracy by labels, with Wilson's 95 % interval over the held-out labels."""
        points = []
        for size, share in zip(self.sizes.tolist(), self.hits.mean(dim=1).tolist(), strict=True):
            low, high = wilson(share * self.hits.shape[1], self.hits.shape[1])
            points.append({"labels": round(size), "accuracy": share, "low": low, "high": high})
        return points

    def forecast(self, *, seed: int, more: int = MORE) -> dict[str, float]:
        """Returns the accuracy that is likely with more labels, and a 95 % interval.

        Args:
            seed: of the bootstrap.
            more: labels to add.
        """
        labels, count = self.num_labels + more, self.hits.shape[1]
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
        drawn = _extrapolated(self.sizes.numpy(), weights @ self.hits.numpy().T, labels)
        whole = self.hits.mean(dim=1).numpy()
        (found,) = _extrapolated(self.sizes.numpy(), whole[None], labels)
        low, high = np.percentile(drawn, (2.5, 97.5))
        by_count = wilson(float(found) * count, count)
        return {
            "labels": labels,
            "accuracy": float(found),
            "low": min(float(low), by_count[0]),
            "high": max(float(high), by_count[1]),
        }


def learning_curve(
    backbone: Backbone, samples: Samples, panel: Panel, weights: dict[str, float], *, seed: int
) -> Curve | None:
    """Returns the curve of a skill of voters; None where labels are too few or many for one.

    Args:
        backbone: that it is on.
        samples: that it was learnt from.
        panel: of its voters.
        weights: of those that count.
        seed: of folds and draws.
    """
    if not LEAST <= len(samples) <= MOST:
        return None
    labels, videos = classes_of(samples), videos_of(samples)
    repeats = min(max(ANSWERS // len(samples), REPEATS[0]), REPEATS[1])
    folds = [fold_masks(labels, videos, seed=seed + repeat) for repeat in range(repeats)]
    training = torch.cat(folds)
    if not len(training):
        return None
    generator = torch.Generator().manual_seed(seed)
    masks = torch.stack([_prefixes(mask, labels, generator) for mask in training], dim=1)
    few = FewLabels(
        rows_of(backbone, samples),
        labels,
        masks.flatten(0, 1),  # (S K, M)
        int(labels.max()) + 1,
        panel.perspectives,
        backbone.backpack,
    )
    right = (_fused(few, weights).argmax(dim=2) == labels).view_as(masks).double()
    known = _known(masks, labels) & (training == 0)  # (S, K, M)
    counted = known.sum(dim=1)
    judged = (counted > 0).all(dim=0)
    if not judged.any():
        return None
    hits = (right * known).sum(dim=1)[:, judged] / counted[:, judged]
    sizes = masks.sum(dim=2).mean(dim=1)
    distinct = [i for i in range(len(sizes)) if i == 0 or sizes[i] > sizes[i - 1]]
    return Curve(sizes[distinct], hits[distinct], len(samples)) if len(distinct) > 1 else None


def _prefixes(mask: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Nested draws of a fold's training labels, (S, M): classes in their proportions, all at first.

    Args:
        mask: (M,) 1 for the labels of the fold.
        labels: (M,) ids.
        generator: of the draw.
    """
    members = mask.nonzero().squeeze(1)
    members = members[torch.randperm(len(members), generator=generator)]
    classes = labels[members]
    before = (classes.unsqueeze(1) == classes).tril(-1).sum(dim=1)  # of its class
    jitter = torch.rand(len(members), generator=generator)
    key = torch.where(before == 0, -jitter, (before + jitter) / classes.bincount()[classes])
    order, least = members[key.argsort()], int((before == 0).sum())
    drawn = mask.new_zeros(len(SHARES), len(mask))
    for place, share in enumerate(SHARES):
        drawn[place, order[: max(least, round(share * len(order)))]] = 1
    return drawn


def _fused(few: FewLabels, weights: dict[str, float]) -> Tensor:
    """Weighed log-probabilities of all models on all rows, (K, M, Y)."""
    total = torch.zeros(len(few.masks), len(few.labels), few.num_labels, dtype=torch.float64)
    for name, weight in weights.items():
        parts = fit_voter(name, few)
        total += weight * cast_votes(name, parts, few.rows, len(few.perspectives))
    return total


def _known(masks: Tensor, labels: Tensor) -> Tensor:
    """Whether a model has learnt a label of the class of each row, (S, K, M)."""
    member = torch.nn.functional.one_hot(labels).to(masks.dtype)
    return (masks @ member)[..., labels] > 0


def _extrapolated(sizes: Any, accuracy: Any, labels: int) -> Any:
    """Least squares of a - b / sqrt(labels), b at least 0, at a number of labels, within [0, 1].

    Args:
        sizes: (S,) labels.
        accuracy: (B, S).
        labels: where to.
    """
    x = 1 / np.sqrt(sizes)
    centred = x - x.mean()
    slope = np.minimum(accuracy @ centred / (centred @ centred), 0)
    return np.clip(accuracy.mean(axis=1) + slope * (1 / np.sqrt(labels) - x.mean()), 0, 1)
