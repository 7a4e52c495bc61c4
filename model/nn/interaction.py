"""Message passing from the closest prototypes to a task's perspective (eq. 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.nn.knn import NearestPrototypes


class InteractionLayer(nn.Module):
    """One round of eq. 3: h <- W_root h + W_nbr max over its k prototypes.

    With `interaction="authors"` the maximum includes h itself, and LayerNorm, ReLU and a Linear
    follow; with `interaction_skip` their result is added to h.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.is_plain = config.interaction == "paper"
        self.skips = config.interaction_skip
        self.root = nn.Linear(width, width, bias=False)
        self.neighbours = nn.Linear(width, width, bias=False)
        if not self.is_plain:
            self.refine = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, queries: Tensor, closest: Tensor) -> Tensor:
        """Returns (Q, D) from queries (Q, D) and the maximum over their prototypes (Q, D)."""
        if self.is_plain:
            return self.root(queries) + self.neighbours(closest)  # type: ignore[no-any-return]
        closest = torch.maximum(closest, queries)
        update = self.neighbours(closest) + self.root(queries)
        refined: Tensor = self.refine(update)
        return queries + refined if self.skips else refined


class PrototypeInteraction(nn.Module):
    """Refines one task's perspective with its closest prototypes.

    As in the paper, neighbours are searched again before every layer, because each layer changes
    the query; `rematch=False` keeps the first ones. Prototypes are an input, not a parameter: they
    get no gradient.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_neighbours = config.num_neighbours
        self.rematch = config.rematch
        self.layers = nn.ModuleList(
            InteractionLayer(config) for _ in range(config.interaction_layers)
        )

    def forward(
        self, queries: Tensor, prototypes: Tensor, index: NearestPrototypes
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refines queries.

        Args:
            queries: (Q, D) perspectives of the input at hand.
            prototypes: (P, D), one row per (verb, noun) pair.
            index: of the same prototypes.

        Returns:
            The refined queries (Q, D); rows (Q, k) and similarities (Q, k) of the first search,
            which become the evidence of an answer.
        """
        prototypes = prototypes.detach()
        rows, similarity = index.search(queries.detach(), self.num_neighbours)
        closest = F.embedding(rows, prototypes).amax(dim=1)  # (Q, D)
        h = queries
        for depth, layer in enumerate(self.layers):
            if depth and self.rematch:
                again, _ = index.search(h.detach(), self.num_neighbours)
                closest = F.embedding(again, prototypes).amax(dim=1)
            h = layer(h, closest)
        return h, rows, similarity
