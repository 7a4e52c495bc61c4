"""Gather indices of graph nodes: segments of a track -> the S feature vectors of every node.

A `RowSelection` holds the feature rows of a whole batch and their interpolation weights, so nothing
here loops over samples. Training samples rows at random; serving and evaluation take evenly spaced
ones, as the authors' code does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.features.track import FeatureTrack
from model.config import ModelConfig
from model.tasks import Readout, Sampling, TaskSpec

WINDOW_FRAMES = 32
STRIDE_FRAMES = 16
"""The paper's windows; those of other features are in the config."""

TOLERANCE_S = 0.05
"""Tolerance for a segment's end after the last frame: clocks of containers and callers differ."""

Bounds = tuple[float, float]
"""Start and end of a segment, in seconds."""


@dataclass(frozen=True, eq=False)
class RowSelection:
    """Rows to read for every vector of every node.

    Attributes:
        lower: (..., N, V) int64 row of the feature matrix; V is S, or 1 where one vector stands
            for all S.
        upper: (..., N, V) int64 row to interpolate with, None where rows are taken as they are.
        weight: (..., N, V) float32 share of `upper` in [0, 1], None likewise.
    """

    lower: Tensor
    upper: Tensor | None = None
    weight: Tensor | None = None

    def part(self, graphs: slice) -> "RowSelection":
        """Returns the selection of some graphs."""
        upper = None if self.upper is None else self.upper[graphs]
        weight = None if self.weight is None else self.weight[graphs]
        return RowSelection(self.lower[graphs], upper, weight)

    def shifted(self, offset: Tensor) -> "RowSelection":
        """Returns the selection with an offset, one per graph, added to its rows."""
        by = offset.view(-1, 1, 1)
        upper = None if self.upper is None else self.upper + by
        return RowSelection(self.lower + by, upper, self.weight)

    def gather(self, features: Tensor) -> Tensor:
        """Returns the selected vectors, (..., N, V, D_in) float32, from features (R, D_in).

        Only selected rows are read and, if stored in half precision, converted.
        """
        vectors = F.embedding(self.lower, features).float()  # twice as fast as indexing
        if self.upper is not None and self.weight is not None:
            upper = F.embedding(self.upper, features).float()
            vectors = torch.lerp(vectors, upper, self.weight.unsqueeze(-1))
        return vectors


def segment_rows(
    spec: TaskSpec, segments: Tensor, num_rows: Tensor, *, config: ModelConfig
) -> tuple[Tensor, Tensor]:
    """Returns the first row and the number of rows of every segment, at least one.

    With `windows="contained"` a forecasting task reads no future frame: a segment too short for a
    whole window falls back on the last window that has ended. With "overlapping" the rows are those
    the authors' code slices: an action never reads its video's last row, and an observed one of a
    forecast also reads the row before it.

    Args:
        spec: the task.
        segments: (..., 2) first frame and frame after the last, on the features' clock.
        num_rows: (...) rows of the segment's video; rows outside are cut off.
        config: windows, and the rule that decides which of them belong to a segment.
    """
    start, end = segments.unbind(-1)
    window, stride = config.window_frames, config.stride_frames
    forecasts = spec.readout is Readout.FUTURE
    limit = num_rows
    if config.windows == "contained":
        first = _floor(start + stride - 1, stride)
        after = _floor(end - window, stride) + 1
        if forecasts:
            first = torch.minimum(first, after - 1)
        elif window > WINDOW_FRAMES:  # many segments are shorter: the window around their middle
            middle = _floor(start + end - window + stride, 2 * stride)
            first = torch.where(after > first, first, middle)
    else:
        first, after = _floor(start, stride), _floor(end, stride)
        if spec.sampling is Sampling.ACTIONS:
            first = first - int(forecasts)
            limit = num_rows - 1
    first = torch.minimum(first.clamp(min=0), num_rows - 1)
    return first, (torch.minimum(after, limit) - first).clamp(min=1)


def pick_nodes(
    spec: TaskSpec,
    segments: Tensor,
    num_rows: Tensor,
    *,
    config: ModelConfig,
    generator: torch.Generator | None = None,
) -> RowSelection:
    """Returns the rows of the nodes of every graph, without future nodes.

    Args:
        spec: the task.
        segments: (G, num_segments, 2) frames on the features' clock.
        num_rows: (G,) rows of each graph's video.
        config: S and the rules of row selection.
        generator: samples rows at random; None takes evenly spaced ones.
    """
    rows = num_rows.unsqueeze(1).expand(segments.shape[:2])
    first, count = segment_rows(spec, segments, rows, config=config)
    vectors = config.vectors_per_node
    if spec.sampling is Sampling.ACTIONS:
        return RowSelection(first.unsqueeze(-1) + _spread(count, vectors, generator))
    first, count = first[:, 0], count[:, 0]
    if spec.sampling is Sampling.UNIFORM:
        step = _sorted_steps(count, spec.num_nodes * vectors, config, generator)
        return RowSelection((first.unsqueeze(-1) + step).unflatten(-1, (spec.num_nodes, vectors)))
    if config.windows == "overlapping":  # an instant's neighbours may lie outside its segment
        first, count = torch.zeros_like(first), num_rows
    return _instants(segments[:, 0], first, count, spec.num_nodes, config=config)


def node_frames(segments: Tensor, nodes: int) -> Tensor:
    """Returns evenly spaced frames of segments, (G, nodes) from (G, 2), the first one included."""
    start, end = segments.unbind(-1)
    step = _floor((end - start).unsqueeze(-1) * torch.arange(nodes), nodes)
    return start.unsqueeze(-1) + step


def add_future(spec: TaskSpec, observed: Tensor) -> Tensor:
    """Appends the initial vectors of future nodes: the mean of the observed (supplement A.1).

    Args:
        spec: of the task; without future nodes the input is returned unchanged.
        observed: (G, num_segments, S, D_in).
    """
    if not spec.num_future:
        return observed
    return torch.cat([observed, observed.mean(dim=1, keepdim=True)], dim=1)


def cut_track(
    track: FeatureTrack, segments: Sequence[Bounds] | None, segment_s: float
) -> list[Bounds]:
    """Returns the given segments, or the track cut every `segment_s`.

    All times are on the clock of the video's container. Given segments are clipped to the video's
    start; a remainder too short for one window is merged into the segment before it.

    Args:
        track: of the video.
        segments: (start_s, end_s) pairs in time order; None cuts the track.
        segment_s: length of a cut segment.
    """
    if segments is not None:
        return [(max(float(start), track.origin_s), float(end)) for start, end in segments]
    window_s = (WINDOW_FRAMES - 0.5) / track.ticks_per_s  # half a frame forgives rounding
    starts = [track.origin_s]
    while track.video_end_s - (starts[-1] + segment_s) >= window_s:
        starts.append(starts[-1] + segment_s)
    return list(zip(starts, [*starts[1:], track.video_end_s], strict=True))


def nodes_on(
    track: FeatureTrack, cut: Sequence[Bounds], spec: TaskSpec, config: ModelConfig
) -> Tensor:
    """Returns the observed nodes of a task's graphs on one track, (G, n, S, D_in).

    Args:
        track: the features.
        cut: its segments.
        spec: of the task; a forecast has a single graph, other tasks one graph per segment.
        config: S and the rules of row selection.
    """
    bounds = track.frame_at(torch.tensor(cut, dtype=torch.float64))  # (G, 2)
    place = torch.arange(len(bounds))
    last = len(bounds) - 1
    if spec.readout is Readout.CENTRE:
        reach = spec.num_segments // 2
        place = (place.unsqueeze(1) + torch.arange(-reach, reach + 1)).clamp(0, last)
    elif spec.readout is Readout.FUTURE:
        place = torch.arange(last - spec.num_segments + 1, last + 1).clamp(min=0).unsqueeze(0)
    else:
        place = place.unsqueeze(1)
    rows = torch.full((len(place),), len(track.features))
    return pick_nodes(spec, bounds[place], rows, config=config).gather(track.features)


def _floor(values: Tensor, by: int) -> Tensor:
    return torch.div(values, by, rounding_mode="floor")


def _spread(count: Tensor, parts: int, generator: torch.Generator | None) -> Tensor:
    """One step into each of `parts` equal parts of (...) rows: the middle, or a random one."""
    base = _floor(count.unsqueeze(-1) * torch.arange(parts), parts)
    width = _floor(count, parts).unsqueeze(-1)
    if generator is None:
        return base + _floor(width, 2)
    return base + (torch.rand(base.shape, generator=generator) * width).long()


def _sorted_steps(
    count: Tensor, picks: int, config: ModelConfig, generator: torch.Generator | None
) -> Tensor:
    """`picks` increasing steps into each segment's (G,) rows."""
    if generator is None:
        return _floor(count.unsqueeze(-1) * torch.arange(picks), picks)
    if config.subsegments == "random":
        return _distinct_steps(count, picks, generator)
    within = torch.rand((len(count), picks), generator=generator, dtype=torch.float64)
    step = ((torch.arange(picks) + within) * count.unsqueeze(-1) / picks).long()
    return torch.minimum(step, count.unsqueeze(-1) - 1)


def _distinct_steps(count: Tensor, picks: int, generator: torch.Generator) -> Tensor:
    """Random steps, no row twice unless a segment has fewer rows than there are picks."""
    columns = max(int(count.max()), picks)
    order = torch.rand((len(count), columns), generator=generator)
    order[torch.arange(columns) >= count.unsqueeze(-1)] = 2.0  # not a row of the segment
    distinct = order.topk(picks, largest=False).indices
    repeated = (torch.rand((len(count), picks), generator=generator) * count.unsqueeze(-1)).long()
    return torch.where(count.unsqueeze(-1) >= picks, distinct, repeated).sort(dim=-1).values


def _instants(
    segments: Tensor, first: Tensor, count: Tensor, nodes: int, *, config: ModelConfig
) -> RowSelection:
    """Features at equally spaced instants, interpolated between neighbouring windows."""
    anchor = config.window_frames / 2 if config.instants == "centre" else 0.0
    low, last = first.unsqueeze(-1), (first + count - 1).unsqueeze(-1)
    row = (node_frames(segments, nodes) - anchor) / config.stride_frames
    row = torch.minimum(torch.maximum(row, low.float()), last.float())
    lower = row.floor().long()
    upper = torch.minimum(lower + 1, last)
    return RowSelection(lower.unsqueeze(-1), upper.unsqueeze(-1), (row - lower).unsqueeze(-1))
