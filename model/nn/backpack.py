"""Backpack: frozen prototypes of every known task, one per action of training.

An action is a combination of labels: a verb and a noun, or what a data set has instead.

Paper Sec. 3.3: the perspectives of all tasks on the AR training split, averaged per action. Beside
the means it keeps how actions spread around them, which few-label skills use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from model.errors import BackpackInvalid
from model.nn.few_labels.spread import ActionSpread, spread_of, spreads_from
from model.nn.knn import Distance, NearestPrototypes, SearchName, build_index
from model.tasks import AR, IGNORE


@dataclass(frozen=True, eq=False)
class Backpack:
    """Frozen prototypes of one backbone.

    Attributes:
        prototypes: task -> (P, D) float32, same row order for all tasks.
        labels: output -> (P,) int64 label ids of the rows; verb and noun, unless it was filled by
            other labels.
        count: (P,) int64, training samples of each row.
        search: k-NN implementation.
        distance: of the search.
        spread: task -> spread of the actions around their prototypes; empty where a bundle was made
            without, or where no action occurs twice.
    """

    prototypes: dict[str, Tensor]
    labels: dict[str, Tensor]
    count: Tensor
    search: SearchName = "auto"
    distance: Distance = "cosine"
    spread: dict[str, ActionSpread] = field(default_factory=dict)
    _indices: dict[str, NearestPrototypes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Checks shapes.

        Raises:
            BackpackInvalid: there is no prototype, or tasks differ in shape.
        """
        rows = len(self.count)
        shapes = {task: tuple(p.shape) for task, p in self.prototypes.items()}
        if rows == 0 or not shapes:
            raise BackpackInvalid("the backpack is empty: no labelled action was collected")
        if any(len(p) != rows for p in self.prototypes.values()) or len(set(shapes.values())) > 1:
            raise BackpackInvalid(f"expected {rows} prototypes of one width a task, got {shapes}")

    def index(self, task: str) -> NearestPrototypes:
        """Returns the searchable form of a task's prototypes, made when it is first asked for.

        Raises:
            SettingInvalid: the search cannot be used on the prototypes' device.
        """
        if task not in self._indices:
            self._indices[task] = build_index(self.prototypes[task], self.search, self.distance)
        return self._indices[task]

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "Backpack":
        """Returns the backpack with its prototypes on another device, or of another precision."""
        moved = {task: p.to(device, dtype) for task, p in self.prototypes.items()}
        spread = {task: s.to(device, dtype) for task, s in self.spread.items()}
        return Backpack(moved, self.labels, self.count, self.search, self.distance, spread)

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Names the tensors for a bundle; `from_tensors` is its inverse."""
        named = {f"{prefix}.{task}": p.contiguous() for task, p in self.prototypes.items()}
        named |= {f"{prefix}/{name}_id": ids for name, ids in self.labels.items()}
        named[f"{prefix}/count"] = self.count
        for task, spread in self.spread.items():
            named |= spread.to_tensors(f"{prefix}/spread/{task}")
        return named

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        prefix: str,
        *,
        outputs: Sequence[str] = AR.outputs,
        search: SearchName = "auto",
        distance: Distance = "cosine",
    ) -> "Backpack":
        """Rebuilds the backpack of one backbone.

        Args:
            tensors: of a bundle.
            prefix: name of the backbone.
            outputs: whose labels the rows have.
            search: k-NN implementation.
            distance: of the search.

        Raises:
            BackpackInvalid: the tensors do not hold one.
        """
        start = f"{prefix}."
        prototypes = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        try:
            labels = {name: tensors[f"{prefix}/{name}_id"] for name in outputs}
            count = tensors[f"{prefix}/count"]
        except KeyError as error:
            raise BackpackInvalid(f"no tensor {error} in the backpack") from error
        spread = spreads_from(tensors, f"{prefix}/spread", prototypes)
        return cls(prototypes, labels, count, search, distance, spread)


def average_per_action(
    perspectives: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    scale: Literal["mean", "divided"] = "mean",
    search: SearchName = "auto",
    distance: Distance = "cosine",
) -> Backpack:
    """Averages perspectives of labelled actions into prototypes, in float64, with their spread.

    Args:
        perspectives: task -> (M, D), of all tasks on the same M actions.
        labels: output -> (M,) label ids; actions with IGNORE in any of them are left out.
        scale: as `ModelConfig.prototypes`; "divided" divides the means by the number of tasks.
        search: k-NN implementation.
        distance: of the search.

    Raises:
        BackpackInvalid: no action has all labels.
    """
    ids = torch.stack(list(labels.values()))  # (outputs, M)
    is_known = (ids != IGNORE).all(dim=0)
    if not is_known.any():
        raise BackpackInvalid("the backpack is empty: no labelled action was collected")
    rows, member, count = torch.unique(
        ids[:, is_known], dim=1, return_inverse=True, return_counts=True
    )
    parts = len(perspectives) if scale == "divided" else 1
    prototypes, spread = {}, {}
    for task, views in perspectives.items():
        total = torch.zeros(len(count), views.shape[1], dtype=torch.float64)
        total.index_add_(0, member, views[is_known].detach().cpu().double())
        prototypes[task] = (total / (parts * count.unsqueeze(1))).float()
        found = spread_of(views[is_known], member, count)
        if found is not None:
            spread[task] = found
    if len(spread) < len(perspectives):
        spread = {}  # of all perspectives or of none
    named = {output: ids.clone() for output, ids in zip(labels, rows, strict=True)}
    return Backpack(prototypes, named, count, search, distance, spread)
