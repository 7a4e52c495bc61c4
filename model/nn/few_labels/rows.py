"""Designs of few-label voters: what each of them reads of an input.

Perspectives p_q of the known tasks, their posterior over the prototypes, softmax_j(cos(p_q, P_qj) /
T), and the perspectives smoothed by it, sum_j posterior_j P_qj.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from model.nn.backpack import Backpack
from model.nn.knn import EPSILON
from model.tasks import Readout, TaskSpec

POSTERIOR_TEMPERATURE = 0.05
"""Of the softmax over cosine similarities."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs of a task, one row each, as the voters read them.

    Attributes:
        features: (M, D) backbone features.
        views: (M, Q D) perspectives of the known tasks side by side; (M, 0) without a backpack.
        smoothed: (M, Q D) the same, smoothed by the prototypes.
        posterior: (M, Q P) square roots of the posteriors over the prototypes side by side: their
            distances are Hellinger's, which count differences of small chances, too.
    """

    features: Tensor
    views: Tensor
    smoothed: Tensor
    posterior: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Rows":
        """Returns the rows with every design changed."""
        return Rows(*(change(getattr(self, f.name)) for f in fields(self)))

    def take(self, which: Tensor) -> "Rows":
        """Returns some of the rows."""
        return self.map(lambda design: design[which])

    @classmethod
    def join(cls, parts: Sequence["Rows"]) -> "Rows":
        """Concatenates rows."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def read_rows(
    spec: TaskSpec, nodes: Tensor, views: Mapping[str, Tensor], backpack: Backpack | None
) -> Rows:
    """Returns the designs of graphs; where a whole graph is answered, means over its nodes.

    A linear classifier of means is the mean of what it says of each node.

    Args:
        spec: the task.
        nodes: (G, n, D) backbone features of the nodes that the answer is read from.
        views: known task -> (G, n, D) perspectives of the same nodes.
        backpack: of the same tasks; None without.
    """

    def pooled(values: Tensor) -> Tensor:
        """(R, F) from (G, n, F)."""
        return values.mean(dim=1) if spec.readout is Readout.GRAPH else values.flatten(0, 1)

    features = pooled(nodes)
    if backpack is None or not views:
        empty = features[:, :0]
        return Rows(features, empty, empty, empty)
    posterior, smoothed = [], []
    for task, view in views.items():
        prototypes = backpack.prototypes[task]
        cosine = F.normalize(view, dim=-1, eps=EPSILON) @ F.normalize(prototypes, dim=1).T
        chance = (cosine / POSTERIOR_TEMPERATURE).softmax(dim=-1)
        posterior.append(pooled(chance).sqrt())
        smoothed.append(pooled(chance @ prototypes))
    return Rows(
        features,
        torch.cat([pooled(view) for view in views.values()], dim=1),
        torch.cat(smoothed, dim=1),
        torch.cat(posterior, dim=1),
    )
