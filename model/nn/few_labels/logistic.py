"""Multinomial logistic regression with an L2 penalty, of several folds at once.

The objective, sum_i CE(W x_i + b, y_i) + penalty / 2 (|W|^2 + |b|^2), is strictly convex: its one
optimum needs no seed. W lies in the span of the x_i, so that n labels need n dimensions at most;
along their principal axes Boehning's bound of the Hessian, (1/2) X^T X, is diagonal, and gives the
step lengths of an accelerated descent that needs no line search.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_STEPS = 2000
TOLERANCE = 1e-5
"""Of a step, in logits."""


def fit_logistic(
    x: Tensor, labels: Tensor, masks: Tensor, num_labels: int, *, penalty: float
) -> tuple[Tensor, Tensor]:
    """Returns weights (K, Y, F) and biases (K, Y), one model a mask.

    Args:
        x: (M, F) float64.
        labels: (M,) ids.
        masks: (K, M) weight of each sample in each model, at most 1.
        num_labels: Y.
        penalty: of squared weights, for x of mean squared length 1.
    """
    shift = x.mean(dim=0)
    scale = (x - shift).square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
    left, size, basis = torch.linalg.svd((x - shift) / scale, full_matrices=False)
    z = torch.cat([left * size, torch.ones_like(x[:, :1])], dim=1)  # orthogonal columns
    theta = _descend(z, labels, masks, num_labels, penalty)
    weight = theta[..., :-1] @ basis / scale
    return weight, theta[..., -1] - weight @ shift


def _descend(z: Tensor, labels: Tensor, masks: Tensor, num_labels: int, penalty: float) -> Tensor:
    """The optimum, (K, Y, r + 1): Nesterov's method, restarted where it overshoots."""
    steps = 1 / (0.5 * z.square().sum(dim=0) + penalty)
    truth = F.one_hot(labels, num_labels).to(z.dtype)
    theta = z.new_zeros(len(masks), num_labels, z.shape[1])
    ahead, momentum = theta, 1.0
    for _ in range(MOST_STEPS):
        chance = (z @ ahead.mT).softmax(dim=2)  # (K, M, Y)
        error = (chance - truth) * masks.unsqueeze(2)
        gradient = error.mT @ z + penalty * ahead
        new = ahead - steps * gradient
        moved = new - theta
        if float((z @ moved.mT).abs().amax()) < TOLERANCE:
            return new
        if float((gradient * moved).sum()) > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / following * moved
        theta, momentum = new, following
    return theta
