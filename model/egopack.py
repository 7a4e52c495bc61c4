"""Skill: a novel task learnt with the backpack; every perspective casts a vote (paper Sec. 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backpack import Backpack
from model.config import ModelConfig
from model.heads import Classifier, Perspective
from model.interaction import PrototypeInteraction
from model.pooling import pool_graph, select_nodes
from model.tasks import TaskSpec

OWN = "own"
"""The novel task's own head among the votes."""


@dataclass(frozen=True, eq=False)
class Votes:
    """What every perspective says of a batch of graphs.

    Attributes:
        logits: output -> vote -> (G, n, Y); votes are the known tasks and "own".
        rows: perspective -> (G, n', k) prototypes retrieved for the nodes of each graph.
        similarity: perspective -> (G, n', k) their cosine similarities.
    """

    logits: dict[str, dict[str, Tensor]]
    rows: dict[str, Tensor]
    similarity: dict[str, Tensor]

    def fused(self) -> dict[str, Tensor]:
        """Returns the summed logits, output -> (G, n, Y) (paper: the sum of the logits)."""
        return {name: torch.stack(list(v.values())).sum(dim=0) for name, v in self.logits.items()}


class Skill(nn.Module):
    """One novel task: its own head, and for every perspective an interaction and a classifier."""

    def __init__(
        self,
        config: ModelConfig,
        spec: TaskSpec,
        perspectives: Sequence[str],
        num_labels: Mapping[str, int],
    ) -> None:
        """Builds an untrained skill.

        Raises:
            ValueError: there is no perspective, or the novel task is one of them.
        """
        super().__init__()
        if not perspectives or spec.name in perspectives:
            raise ValueError(f"{spec.name} needs other tasks' perspectives, got {perspectives}")
        self.spec = spec
        self.perspectives = tuple(perspectives)
        labels = {output: num_labels[output] for output in spec.outputs}
        width, dropout = config.hidden_size, config.skill_dropout
        self.head = Perspective(width)
        self.classifier = Classifier(width, labels, dropout=dropout)
        self.interactions = nn.ModuleDict({q: PrototypeInteraction(config) for q in perspectives})
        self.voters = nn.ModuleDict(
            {q: Classifier(width, labels, dropout=dropout) for q in perspectives}
        )

    def forward(self, features: Tensor, views: nn.ModuleDict, backpack: Backpack) -> Votes:
        """Returns every vote on every graph.

        Args:
            features: (G*N, D) backbone features of this task's graphs.
            views: the known tasks' frozen heads.
            backpack: prototypes made by the same backbone and heads.
        """
        nodes = select_nodes(self.spec, features)  # (G, n, D)
        own = self.classifier(pool_graph(self.spec, self.head(nodes)))
        votes = {name: {OWN: logits} for name, logits in own.items()}
        rows, similarity = {}, {}
        for task in self.perspectives:
            with torch.no_grad():  # known heads stay as they were when the prototypes were made
                queries = views[task](nodes.detach())
            refined, found, cosine = self.interactions[task](
                queries.flatten(0, 1), backpack.prototypes[task], backpack.index(task)
            )
            shape = nodes.shape[:2]
            pooled = pool_graph(self.spec, refined.unflatten(0, shape))
            for name, logits in self.voters[task](pooled).items():
                votes[name][task] = logits
            rows[task] = found.unflatten(0, shape)
            similarity[task] = cosine.unflatten(0, shape)
        return Votes(votes, rows, similarity)
