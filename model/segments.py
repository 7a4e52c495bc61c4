"""A track and its segments -> the S vectors of every node.

All tasks reduce to one thing: which rows of a feature matrix, mixed how. A `Pick` says so for a
whole batch at once, so nothing here loops over samples. Training draws rows at random inside
each part; serving and evaluation take the middle ones (the authors' code, section 2.5 of the
supplement's data pipeline).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import ModelConfig
from model.tasks import Sampling, TaskSpec

WINDOW_FRAMES = 32
STRIDE_FRAMES = 16
TOLERANCE_S = 0.05
"""How far past the last frame a segment may end: clocks of containers and callers differ."""


@dataclass(frozen=True, eq=False)
class Pick:
    """Rows to read for every vector of every node: (1 - weight) * lower + weight * upper.

    Attributes:
        lower: (..., N, S) int64 row of the feature matrix.
        upper: (..., N, S) int64.
        weight: (..., N, S) float32 in [0, 1].
    """

    lower: Tensor
    upper: Tensor
    weight: Tensor

    def shifted(self, offset: Tensor) -> "Pick":
        """Returns the same picks with rows counted from another origin, one offset a graph."""
        by = offset.view(-1, 1, 1)
        return Pick(self.lower + by, self.upper + by, self.weight)

    def gather(self, features: Tensor) -> Tensor:
        """Returns the picked vectors, (..., N, S, D_in), from features (R, D_in)."""
        weight = self.weight.unsqueeze(-1)
        low = features[self.lower]
        if not bool(self.weight.any()):
            return low
        return torch.lerp(low, features[self.upper], weight)


def segment_rows(
    segments: Tensor, num_rows: Tensor, *, config: ModelConfig
) -> tuple[Tensor, Tensor]:
    """Returns the first row and the number of rows of every segment, at least one.

    Args:
        segments: (..., 2) first frame and frame after the last, on the features' clock.
        num_rows: (...) rows of the video the segment is in.
        config: its `windows` rule decides what belongs to a segment.
    """
    start, end = segments.unbind(-1)
    if config.windows == "contained":
        first = torch.div(start + STRIDE_FRAMES - 1, STRIDE_FRAMES, rounding_mode="floor")
        after = torch.div(end - WINDOW_FRAMES, STRIDE_FRAMES, rounding_mode="floor") + 1
    else:
        first = torch.div(start, STRIDE_FRAMES, rounding_mode="floor")
        after = torch.div(end, STRIDE_FRAMES, rounding_mode="floor")
    after = torch.minimum(after, num_rows)
    first = torch.minimum(first.clamp(min=0), num_rows - 1)
    return first, (after - first).clamp(min=1)


def pick_nodes(
    spec: TaskSpec,
    segments: Tensor,
    num_rows: Tensor,
    *,
    config: ModelConfig,
    generator: torch.Generator | None = None,
) -> Pick:
    """Returns what to read for the nodes of every graph, future nodes not included.

    Args:
        spec: the task.
        segments: (G, num_segments, 2) frames on the features' clock.
        num_rows: (G,) rows of each graph's video.
        config: S and the window rules.
        generator: draws rows at random when given, else the middle ones are taken.
    """
    rows = num_rows.unsqueeze(1).expand(segments.shape[:2])
    first, count = segment_rows(segments, rows, config=config)
    vectors = config.vectors_per_node
    if spec.sampling is Sampling.ACTIONS:
        return _whole(_spread(first, count, vectors, generator))
    first, count = first[:, 0], count[:, 0]
    if spec.sampling is Sampling.UNIFORM:
        picked = _linspace(first, count, spec.num_nodes * vectors, generator)
        return _whole(picked.unflatten(-1, (spec.num_nodes, vectors)))
    return _instants(segments[:, 0], first, count, spec.num_nodes, vectors, config=config)


def add_future(spec: TaskSpec, observed: Tensor) -> Tensor:
    """Appends a task's future nodes, each the mean of the observed ones (supplement A.1).

    Args:
        spec: the task; without future nodes the input comes back unchanged.
        observed: (G, num_segments, S, D_in).
    """
    if not spec.num_future:
        return observed
    future = observed.mean(dim=1, keepdim=True).expand(-1, spec.num_future, -1, -1)
    return torch.cat([observed, future], dim=1)


def _whole(rows: Tensor) -> Pick:
    return Pick(rows, rows, torch.zeros(rows.shape))


def _spread(first: Tensor, count: Tensor, parts: int, generator: torch.Generator | None) -> Tensor:
    """One row from each of `parts` equal parts: the middle one, or a random one."""
    part = torch.arange(parts)
    base = torch.div(count.unsqueeze(-1) * part, parts, rounding_mode="floor")
    width = torch.div(count, parts, rounding_mode="floor").unsqueeze(-1)
    if generator is None:
        shift = torch.div(width, 2, rounding_mode="floor").expand(base.shape)
    else:
        shift = (torch.rand(base.shape, generator=generator) * width).long()
    return first.unsqueeze(-1) + base + shift


def _linspace(
    first: Tensor, count: Tensor, picks: int, generator: torch.Generator | None
) -> Tensor:
    """`picks` sorted rows of each segment: evenly spaced, or drawn at random."""
    if generator is None:
        step = torch.div(count.unsqueeze(-1) * torch.arange(picks), picks, rounding_mode="floor")
    else:
        draws = torch.rand((*count.shape, picks), generator=generator)
        step = (draws * count.unsqueeze(-1)).long().sort(dim=-1).values
    return first.unsqueeze(-1) + step


def _instants(
    segments: Tensor, first: Tensor, count: Tensor, nodes: int, vectors: int, *, config: ModelConfig
) -> Pick:
    """Features at equally spaced instants, interpolated between neighbouring windows."""
    start, end = segments.unbind(-1)
    step = (end - start).unsqueeze(-1) * torch.arange(nodes) / nodes
    frame = (start.unsqueeze(-1) + step).floor()
    anchor = WINDOW_FRAMES / 2 if config.instants == "centre" else 0.0
    last = (first + count - 1).unsqueeze(-1)
    row = torch.minimum(
        torch.maximum((frame - anchor) / STRIDE_FRAMES, first.unsqueeze(-1).float()), last.float()
    )
    lower = row.floor().long()
    upper = torch.minimum(lower + 1, last)
    weight = (row - lower).float()
    return Pick(*(t.unsqueeze(-1).expand(-1, -1, vectors) for t in (lower, upper, weight)))
