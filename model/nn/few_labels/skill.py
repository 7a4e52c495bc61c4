"""Few-label skill: a task answered by weighted voters on features, perspectives and prototypes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from model.nn.backpack import Backpack
from model.nn.few_labels.examples import unit_views
from model.nn.few_labels.rows import read_rows
from model.nn.few_labels.voters import EXAMPLES, VOTERS, cast_votes
from model.nn.pooling import select_nodes
from model.nn.skill import Votes
from model.tasks import TaskSpec


class FittedVoter(nn.Module):
    """Tensors of one fitted voter; see `fit_voter`."""

    def __init__(self, parts: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.register_buffer(name, part)


class FewLabelSkill(nn.Module):
    """A task whose answer is softmax(sum_v w_v log p_v) over its voters.

    Attributes:
        spec: the task.
        perspectives: known tasks whose perspectives are read; none without a backpack.
        weights: voter -> its weight.
    """

    def __init__(
        self,
        spec: TaskSpec,
        perspectives: Sequence[str],
        weights: Mapping[str, float],
        fitted: Mapping[str, Mapping[str, Tensor]],
        num_neighbours: int,
    ) -> None:
        """Takes fitted voters.

        Args:
            spec: the task.
            perspectives: known tasks, in the order in which the voters read them.
            weights: of the voters that count; others, such as examples kept as evidence, do not
                vote.
            fitted: voter -> its tensors.
            num_neighbours: k of the prototypes retrieved as evidence.
        """
        super().__init__()
        self.spec, self.perspectives = spec, tuple(perspectives)
        self.weights = {name: weights[name] for name in VOTERS if name in weights}
        self.num_neighbours = num_neighbours
        self.voters = nn.ModuleDict({name: FittedVoter(parts) for name, parts in fitted.items()})

    def forward(
        self,
        features: Tensor,
        views: nn.ModuleDict,
        backpack: Backpack | None,
        *,
        views_learn: bool = False,
    ) -> Votes:
        """Returns the log-probabilities of every voter that counts.

        Args:
            features: (G*N, D) backbone features of this task's graphs.
            views: the known tasks' heads.
            backpack: prototypes made by the same heads; None if there are no perspectives.
            views_learn: not here: the heads stay as they are.
        """
        nodes = select_nodes(self.spec, features)  # (G, n, D)
        queries = {task: views[task](nodes) for task in self.perspectives}
        rows = read_rows(self.spec, nodes, queries, backpack)
        votes = {}
        for name in self.weights:
            parts = dict(self.voters[name].named_buffers())
            votes[name] = cast_votes(name, parts, rows, len(queries))[0].unsqueeze(1)  # (G, 1, Y)
        closest, similarity = {}, {}
        for task, query in queries.items():
            assert backpack is not None
            found = backpack.index(task).search(query.flatten(0, 1), self.num_neighbours)
            closest[task], similarity[task] = (t.unflatten(0, query.shape[:2]) for t in found)
        return Votes(
            {self.spec.outputs[0]: votes},
            closest,
            similarity,
            weights=self.weights,
            examples=self._examples(rows.views),
        )

    def _examples(self, views: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rows of the nearest examples and their mean cosine similarity, (G, k) both."""
        if EXAMPLES not in self.voters:
            return None
        keys = self.voters[EXAMPLES].get_buffer("keys")
        cosine = unit_views(views, len(self.perspectives)) @ keys.T
        best = cosine.topk(min(self.num_neighbours, len(keys)), dim=1)
        return best.indices, best.values


def empty_voters(
    names: Sequence[str], *, width: int, prototypes: int, views: int, labels: int, examples: int
) -> dict[str, dict[str, Tensor]]:
    """Returns zeros in place of fitted voters, to load a bundle's tensors into.

    Args:
        names: of the voters.
        width: D.
        prototypes: P.
        views: Q.
        labels: Y.
        examples: n.
    """
    sizes = {
        "features": width, "views": views * width, "smoothed": views * width,
        "posterior": views * prototypes,
    }  # fmt: skip
    empty = {}
    for name in names:
        size = sizes[VOTERS[name].design]
        if name == EXAMPLES:
            empty[name] = {
                "keys": torch.zeros(examples, size), "member": torch.zeros(1, examples, labels)
            }  # fmt: skip
        else:
            empty[name] = {
                "weight": torch.zeros(1, labels, size), "bias": torch.zeros(1, labels)
            }  # fmt: skip
    return empty
