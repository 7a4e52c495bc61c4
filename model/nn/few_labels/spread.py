"""Spread of actions around their prototypes: a pooled covariance and a variance per prototype.

What a few labels cannot estimate and the backpack's many actions can. The covariance is a low-rank
part plus a diagonal, Sigma = F F^T + diag(d), so that it stays small at any width and its inverse
and determinant have closed forms (Woodbury).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import BackpackInvalid

RANK = 32
"""Most directions of the low-rank part."""

PRIOR_COUNT = 10
"""Degrees of freedom that the pooled variance weighs in a prototype's own: those of few actions
are drawn towards 1."""

_LEAST = 1e-6  # of the mean variance: the least of a single dimension


@dataclass(frozen=True, eq=False)
class ActionSpread:
    """Within-action spread of one perspective.

    Attributes:
        factor: (D, r) float32, F of the pooled covariance F F^T + diag(d).
        diagonal: (D,) float32, d, above 0.
        relative: (P,) float32, variance of each prototype's actions, its mean over the dimensions
            relative to that of the pooled one.
    """

    factor: Tensor
    diagonal: Tensor
    relative: Tensor

    def __post_init__(self) -> None:
        """Checks shapes.

        Raises:
            BackpackInvalid: the tensors do not belong together.
        """
        shapes = [tuple(t.shape) for t in (self.factor, self.diagonal, self.relative)]
        if [len(s) for s in shapes] != [2, 1, 1] or shapes[0][0] != shapes[1][0]:
            raise BackpackInvalid(
                f"expected a spread of shapes (D, r), (D,) and (P,), got {shapes[0]}, "
                f"{shapes[1]} and {shapes[2]}"
            )

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "ActionSpread":
        """Returns the spread on another device, or of another precision."""
        parts = (self.factor, self.diagonal, self.relative)
        return ActionSpread(*(part.to(device, dtype) for part in parts))

    def shrunk(self, amount: float) -> "ActionSpread":
        """Returns the spread with its covariance drawn towards a multiple of the identity.

        Sigma <- (1 - amount) Sigma + amount (tr Sigma / D) I, amount in [0, 1]; the trace stays.
        """
        mean = float(self.dense_diagonal().mean())
        diagonal = (1 - amount) * self.diagonal + amount * mean
        return ActionSpread((1 - amount) ** 0.5 * self.factor, diagonal, self.relative)

    def dense_diagonal(self) -> Tensor:
        """Returns the diagonal of the covariance, (D,)."""
        return self.diagonal + self.factor.square().sum(dim=1)

    def dense(self) -> Tensor:
        """Returns the covariance, (D, D)."""
        return self.factor @ self.factor.T + self.diagonal.diag()

    def solve(self, vectors: Tensor) -> Tensor:
        """Returns Sigma^-1 x of every row, (M, D), in the precision of the spread.

        Woodbury: Sigma^-1 = D^-1 - D^-1 F (I + F^T D^-1 F)^-1 F^T D^-1, an (r, r) system.
        """
        scaled = vectors / self.diagonal  # (M, D)
        inner: Tensor = torch.linalg.solve(self._inner(), (scaled @ self.factor).T)  # (r, M)
        return scaled - (self.factor @ inner).T / self.diagonal

    def log_determinant(self) -> Tensor:
        """Returns log |Sigma|, a scalar: log |D| + log |I + F^T D^-1 F|."""
        inner: Tensor = torch.linalg.slogdet(self._inner()).logabsdet
        return self.diagonal.log().sum() + inner

    def _inner(self) -> Tensor:
        identity = torch.eye(
            self.factor.shape[1], dtype=self.factor.dtype, device=self.factor.device
        )
        inner: Tensor = identity + self.factor.T @ (self.factor / self.diagonal.unsqueeze(1))
        return inner

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Names the tensors for a bundle; `spreads_from` is the inverse."""
        parts = {"factor": self.factor, "diagonal": self.diagonal, "relative": self.relative}
        return {f"{prefix}/{name}": part.contiguous() for name, part in parts.items()}


def spreads_from(
    tensors: Mapping[str, Tensor], prefix: str, tasks: Mapping[str, Tensor]
) -> dict[str, ActionSpread]:
    """Returns task -> spread from a bundle's tensors; empty if it was made without them.

    Args:
        tensors: of the bundle's backpack.
        prefix: of the spreads of one backbone; a task's name follows.
        tasks: task -> (P, D) prototypes.

    Raises:
        BackpackInvalid: a task has none while another does, or one does not fit its prototypes.
    """
    if not any(name.startswith(f"{prefix}/") for name in tensors):
        return {}
    spreads = {}
    for task, prototypes in tasks.items():
        try:
            parts = [tensors[f"{prefix}/{task}/{p}"] for p in ("factor", "diagonal", "relative")]
        except KeyError as error:
            raise BackpackInvalid(f"no tensor {error} in the backpack") from error
        spread = ActionSpread(*parts)
        found = (len(spread.relative), len(spread.diagonal))
        if found != tuple(prototypes.shape):
            raise BackpackInvalid(
                f"expected a spread of {task} for prototypes of shape {tuple(prototypes.shape)}, "
                f"got one for {found}"
            )
        spreads[task] = spread
    return spreads


def spread_of(
    views: Tensor, member: Tensor, count: Tensor, *, rank: int = RANK
) -> ActionSpread | None:
    """Returns the spread of labelled actions around the means of their (verb, noun).

    The covariance is the within-action scatter over its M - P degrees of freedom; its diagonal is
    kept exactly, and its `rank` largest directions. A prototype's variance has n - 1 degrees of
    freedom of its own and `PRIOR_COUNT` of the pooled one.

    Args:
        views: (M, D), one perspective.
        member: (M,) prototype of each action, below P.
        count: (P,) actions of each prototype.
        rank: most directions to keep.

    Returns:
        The spread; None where no action occurs twice, or all of an action are equal.
    """
    views = views.detach().cpu().double()
    freedom = len(views) - len(count)
    means = torch.zeros(len(count), views.shape[1], dtype=torch.float64)
    means.index_add_(0, member, views)
    centred = views - (means / count.unsqueeze(1))[member]
    squares = centred.square()
    pooled = float(squares.sum())
    if freedom < 1 or pooled <= 0:
        return None
    pooled /= freedom  # trace of the covariance
    values, directions = torch.linalg.eigh(centred.T @ centred / freedom)
    kept = min(rank, freedom, views.shape[1])
    factor = directions[:, -kept:] * values[-kept:].clamp(min=0).sqrt()
    least = _LEAST * pooled / views.shape[1]
    diagonal = (squares.sum(dim=0) / freedom - factor.square().sum(dim=1)).clamp(min=least)
    own = torch.zeros(len(count), dtype=torch.float64).index_add_(0, member, squares.sum(dim=1))
    relative = (own / pooled + PRIOR_COUNT) / (count - 1 + PRIOR_COUNT)
    return ActionSpread(factor.float(), diagonal.float(), relative.float())
