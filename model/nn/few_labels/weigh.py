"""Choice of the voters by cross-validation: folds, and non-negative weights of log-probabilities.

The answer is softmax(sum_v w_v log p_v). The weights minimise the cross entropy of out-of-fold
votes plus strength / 2 |w - prior|^2, a convex problem: without a label that can be held out they
are the prior, with many they are what the labels say.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FOLDS = 5

PRIOR: dict[str, float] = {
    "own": 0.5,
    "perspectives": 0.0,
    "smoothed": 0.1,
    "posterior": 0.35,
    "gaussian": 0.0,
    "calibrated": 0.08,
    "examples": 0.0,
}
"""Voter -> weight where labels cannot tell. Chosen on val of five tabletop tasks, for one and two
labels a class: the plain head counts most, so that tasks that the prototypes know nothing of lose
nothing. They sum to about 1, which makes a temperature of 1 about right there."""

STRENGTH = 30.0
"""Of the prior."""

MOST_STEPS = 500


def fold_masks(labels: Tensor, videos: Sequence[str], *, seed: int) -> Tensor:
    """Returns which rows each fold is trained on, (K, M), 1 or 0; K = 0 where none is held out.

    Stratified by class; where there are several videos, those of one are held out together.

    Args:
        labels: (M,) ids.
        videos: of the rows.
        seed: of the order in which videos are dealt out.
    """
    groups = {name: i for i, name in enumerate(dict.fromkeys(videos))}
    member = torch.tensor([groups[name] for name in videos], dtype=torch.long)
    if len(groups) == 1:
        member = torch.arange(len(labels))
    count = F.one_hot(labels).new_zeros(int(member.max()) + 1, int(labels.max()) + 1)
    count.index_put_((member, labels), torch.ones_like(labels), accumulate=True)  # (groups, Y)
    num_folds = min(FOLDS, len(count), int(count.sum(dim=0).max()))
    if num_folds < 2:
        return torch.zeros(0, len(labels), dtype=torch.float64)
    order = torch.randperm(len(count), generator=torch.Generator().manual_seed(seed))
    order = order[count[order].sum(dim=1).argsort(descending=True, stable=True)]
    filled = count.new_zeros(num_folds, count.shape[1])
    fold = torch.zeros(len(count), dtype=torch.long)
    for group in order.tolist():
        crowd = (filled * count[group]).sum(dim=1)  # rows of the same classes
        crowd = crowd * len(labels) + filled.sum(dim=1)
        fold[group] = crowd.argmin()
        filled[fold[group]] += count[group]
    return (fold[member] != torch.arange(num_folds).unsqueeze(1)).double()


def out_of_fold(masks: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the fold that holds each row out, (M,), and whether it has learnt the row's class.

    Args:
        masks: (K, M) as of `fold_masks`, K at least 1.
        labels: (M,) ids.
    """
    fold = masks.argmin(dim=0)
    member = F.one_hot(labels).double()
    learnt = (masks @ member)[fold, labels] > 0
    return fold, learnt


def fit_weights(votes: Tensor, labels: Tensor, masks: Tensor, prior: Tensor) -> Tensor:
    """Returns the weights of V voters, (K, V), 0 or more, one set a mask.

    Args:
        votes: (V, M, Y) out-of-fold log-probabilities.
        labels: (M,) ids.
        masks: (K, M) weight of each row.
        prior: (V,) weights.
    """
    votes = votes - votes.mean(dim=2, keepdim=True)
    flat = votes.flatten(1)  # (V, M Y)
    truth = F.one_hot(labels, votes.shape[2]).double()
    step = 1 / (0.5 * torch.linalg.eigvalsh(flat @ flat.T)[-1] + STRENGTH)
    weights = prior.expand(len(masks), -1)
    ahead, momentum = weights, 1.0
    for _ in range(MOST_STEPS):
        chance = torch.einsum("kv,vmy->kmy", ahead, votes).softmax(dim=2)
        error = (chance - truth) * masks.unsqueeze(2)
        gradient = error.flatten(1) @ flat.T + STRENGTH * (ahead - prior)
        new = (ahead - step * gradient).clamp(min=0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / following * (new - weights)
        weights, momentum = new, following
    return weights


def prior_weights(names: Sequence[str], prior: Mapping[str, float] = PRIOR) -> Tensor:
    """Returns the prior of the voters there are, (V,), scaled to the sum of all."""
    found = torch.tensor([prior[name] for name in names], dtype=torch.float64)
    return found / found.sum() * sum(prior.values())
