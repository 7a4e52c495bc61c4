"""Task heads: a perspective on shared features, then logits."""

from collections.abc import Mapping

from torch import Tensor, nn

from model.nn.dropout import Dropout


class Perspective(nn.Module):
    """A task's view of the shared features: g(f) = W_b ReLU(LN(W_a f + b_a)) + b_b."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns (..., D) from (..., D)."""
        view: Tensor = self.layers(features)
        return view


class Classifier(nn.Module):
    """One linear layer per label space of a task, each with its own dropout."""

    def __init__(self, width: int, num_labels: Mapping[str, int], *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.outputs = nn.ModuleDict({name: nn.Linear(width, n) for name, n in num_labels.items()})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Returns logits, output -> (..., Y), from (..., D)."""
        return {name: layer(self.dropout(features)) for name, layer in self.outputs.items()}
