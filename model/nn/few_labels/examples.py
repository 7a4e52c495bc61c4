"""Cache of the user's own examples (Tip-Adapter, arXiv 2207.09519, training-free).

A class says how near its examples are: log mean_i exp(sharpness (cos(x, x_i) - 1)), the mean in
place of Tip-Adapter's sum, so that a frequent class has no advance. The nearest examples are the
evidence: "like your clip 3, 12.0-20.0 s".
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHARPNESS = 20.0
"""Of the affinity; Tip-Adapter's beta."""

MOST_EXAMPLES = 1000
"""Labels up to which a skill keeps its examples: beyond, they are not few."""


def unit_views(views: Tensor, num_views: int) -> Tensor:
    """Returns perspectives side by side, (M, Q D), of equal length each and of length 1 together.

    A product of two rows is then their mean cosine similarity over the perspectives.
    """
    parts = views.unflatten(1, (num_views, -1))
    unit: Tensor = F.normalize(parts, dim=2).flatten(1) / num_views**0.5
    return unit


def example_logits(cosine: Tensor, member: Tensor) -> Tensor:
    """Returns log-affinities, (K, M, Y); a class without an example has the lowest possible.

    Args:
        cosine: (M, n) similarities to the examples.
        member: (K, n, Y) classes of the examples, times their weight in each model.
    """
    affinity = torch.exp(SHARPNESS * (cosine - 1))  # (M, n)
    mean = affinity @ member / member.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return mean.clamp(min=math.exp(-2 * SHARPNESS)).log()
