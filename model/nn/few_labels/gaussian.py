"""Gaussian classes whose covariance comes from the backpack, not from the few labels.

With one covariance for all classes the discriminant is linear, mu_c^T Sigma^-1 x - 1/2 mu_c^T
Sigma^-1 mu_c (LDA; training-free as in arXiv 2402.04087), per perspective, averaged over them.
Distribution calibration (arXiv 2101.06395) moves each example towards the prototypes nearest to it
and borrows their variance: here in closed form, an example weighs the inverse of that variance in
the mean of its class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.nn.backpack import Backpack

SHRINKAGE = 0.3
"""Share of the identity in the covariance."""

SCALE = 0.1
"""What discriminants are multiplied by: classes are wider than actions, so they are too sure."""

BORROWED = 1
"""Prototypes that an example borrows from, in each perspective."""


def fit_gaussian(
    views: Tensor,
    labels: Tensor,
    masks: Tensor,
    num_labels: int,
    backpack: Backpack,
    perspectives: Sequence[str],
    *,
    borrows: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns the discriminants' weights (K, Y, Q D) and biases (K, Y), one model a mask.

    Args:
        views: (M, Q D) float64, perspectives side by side.
        labels: (M,) ids.
        masks: (K, M) weight of each sample in each model.
        num_labels: Y.
        backpack: with spread.
        perspectives: the Q tasks, in the order of `views`.
        borrows: with distribution calibration.
    """
    weights, biases = [], []
    each = len(perspectives)
    for task, view in zip(perspectives, views.chunk(each, dim=1), strict=True):
        spread = backpack.spread[task].to("cpu", torch.float64)
        examples, mass = view, masks
        if borrows:
            prototypes = backpack.prototypes[task].cpu().double()
            examples, variance = _calibrated(view, prototypes, spread.relative)
            mass = masks / variance
        means = class_means(examples, labels, mass, num_labels)
        solved = spread.shrunk(SHRINKAGE).solve(means.flatten(0, 1)).view_as(means)
        weights.append(SCALE / each * solved)
        biases.append(-0.5 * (weights[-1] * means).sum(dim=2))
    return torch.cat(weights, dim=2), torch.stack(biases).sum(dim=0)


def class_means(x: Tensor, labels: Tensor, masks: Tensor, num_labels: int) -> Tensor:
    """Returns weighted means, (K, Y, F); a class without weight has the mean of all.

    Args:
        x: (M, F).
        labels: (M,) ids.
        masks: (K, M) weights.
        num_labels: Y.
    """
    member = F.one_hot(labels, num_labels).to(x.dtype)  # (M, Y)
    mass = torch.einsum("km,my->kym", masks, member)
    total = mass.sum(dim=2, keepdim=True)
    overall = (masks @ x / masks.sum(dim=1, keepdim=True)).unsqueeze(1)
    return torch.where(total > 0, mass @ x / total.clamp(min=1e-12), overall)


def _calibrated(view: Tensor, prototypes: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
    """Examples averaged with their nearest prototypes, (M, D), and the variance of these, (M,)."""
    cosine = F.normalize(view, dim=1) @ F.normalize(prototypes, dim=1).T
    nearest = cosine.topk(min(BORROWED, len(prototypes)), dim=1).indices
    borrowed = prototypes[nearest].sum(dim=1)
    return (view + borrowed) / (1 + nearest.shape[1]), relative[nearest].mean(dim=1)
