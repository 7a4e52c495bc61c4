"""Skill: a novel task trained with the backpack, whose perspectives vote (paper Sec. 3.3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.nn.backpack import Backpack
from model.nn.heads import Classifier, Perspective
from model.nn.interaction import PrototypeInteraction
from model.nn.pooling import pool_graph, select_nodes
from model.tasks import Readout, TaskSpec

OWN = "own"
"""Vote of the novel task's own head."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes of every perspective on a batch of graphs.

    Attributes:
        logits: output -> vote -> (G, n, Y); votes are the known tasks and "own".
        rows: perspective -> (G, n', k) prototypes retrieved for the nodes of each graph.
        similarity: perspective -> (G, n', k) of these prototypes.
        fusion: of the votes' logits.
        weights: vote -> its factor in the sum, of few-label skills; empty: all count the same.
        examples: nearest labelled examples of a few-label skill, and their similarities, (G, k).
    """

    logits: dict[str, dict[str, Tensor]]
    rows: dict[str, Tensor]
    similarity: dict[str, Tensor]
    fusion: Literal["sum", "mean"] = "sum"
    weights: Mapping[str, float] = field(default_factory=dict)
    examples: tuple[Tensor, ...] | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Votes":
        """Returns the votes with every tensor changed; always in the same order."""
        return replace(
            self,
            logits={n: {who: change(v) for who, v in by.items()} for n, by in self.logits.items()},
            rows={task: change(rows) for task, rows in self.rows.items()},
            similarity={task: change(cosine) for task, cosine in self.similarity.items()},
            examples=None if self.examples is None else tuple(map(change, self.examples)),
        )

    def fused(self) -> dict[str, Tensor]:
        """Returns the combined logits, output -> (G, n, Y) (paper: the sum of the logits)."""
        if self.weights:
            return {
                name: torch.stack([self.weights[who] * v for who, v in votes.items()]).sum(dim=0)
                for name, votes in self.logits.items()
            }
        stacked = {name: torch.stack(list(v.values())) for name, v in self.logits.items()}
        if self.fusion == "sum":
            return {name: votes.sum(dim=0) for name, votes in stacked.items()}
        return {name: votes.mean(dim=0) for name, votes in stacked.items()}


class Skill(nn.Module):
    """One novel task: its own head, and for every perspective an interaction and a classifier.

    Without perspectives only its own head votes: plain fine-tuning, the k = 0 of Fig. 4.
    """

    def __init__(
        self,
        config: ModelConfig,
        spec: TaskSpec,
        perspectives: Sequence[str],
        num_labels: Mapping[str, int],
    ) -> None:
        """Builds an untrained skill.

        Raises:
            ValueError: the novel task is one of the perspectives.
        """
        super().__init__()
        if spec.name in perspectives:
            raise ValueError(f"{spec.name} cannot learn from its own perspective")
        self.spec = spec
        self.perspectives = tuple(perspectives)
        self.fusion = config.graph_fusion if spec.readout is Readout.GRAPH else config.fusion
        if config.fusion == "features":
            self.fusion = "features"
        labels = {output: num_labels[output] for output in spec.outputs}
        width, dropout = config.hidden_size, config.skill_dropout
        self.head = Perspective(width)
        self.classifier = Classifier(width, labels, dropout=dropout)
        self.interactions = nn.ModuleDict({q: PrototypeInteraction(config) for q in perspectives})
        voters = perspectives if self.fusion != "features" else ()
        self.voters = nn.ModuleDict({q: Classifier(width, labels, dropout=dropout) for q in voters})

    def forward(
        self,
        features: Tensor,
        views: nn.ModuleDict,
        backpack: Backpack | None,
        *,
        views_learn: bool = False,
    ) -> Votes:
        """Returns every vote on every graph.

        Args:
            features: (G*N, D) backbone features of this task's graphs.
            views: the known tasks' heads.
            backpack: prototypes made by the same heads; None if there are no perspectives.
            views_learn: the heads are trained and pass gradients to the backbone.
        """
        nodes = select_nodes(self.spec, features)  # (G, n, D)
        shape = nodes.shape[:2]
        refined, rows, similarity = {}, {}, {}
        for task in self.perspectives:
            assert backpack is not None
            queries = views[task](nodes if views_learn else nodes.detach()).flatten(0, 1)
            found = self.interactions[task](
                queries, backpack.prototypes[task], backpack.index(task)
            )
            refined[task], rows[task], similarity[task] = (t.unflatten(0, shape) for t in found)
        own = self.head(nodes)
        if self.fusion == "features":
            joint = torch.stack([own, *refined.values()]).amax(dim=0)
            logits = self.classifier(pool_graph(self.spec, joint))
            return Votes({name: {OWN: v} for name, v in logits.items()}, rows, similarity)
        votes = {name: {OWN: v} for name, v in self._vote(self.classifier, own).items()}
        for task, view in refined.items():
            for name, logits in self._vote(self.voters[task], view).items():
                votes[name][task] = logits
        return Votes(votes, rows, similarity, self.fusion)

    def _vote(self, classifier: nn.Module, view: Tensor) -> dict[str, Tensor]:
        logits: dict[str, Tensor] = classifier(pool_graph(self.spec, view))
        return logits
