"""One track, cut into segments -> the observed nodes of a task's graphs on it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from extract.features.track import FeatureTrack
from model.config import ModelConfig
from model.nodes import WINDOW_FRAMES, pick_nodes
from model.tasks import Readout, TaskSpec

Bounds = tuple[float, float]
"""Start and end of a segment, in seconds."""


def cut_track(
    track: FeatureTrack, segments: Sequence[Bounds] | None, segment_s: float
) -> list[Bounds]:
    """Returns the segments asked for, or the track cut every `segment_s`.

    All times are on the clock of the video's container. A segment asked for begins no sooner than
    the video; a remainder too short to hold one window joins the segment before it.

    Args:
        track: what is cut.
        segments: (start_s, end_s) pairs in time order, if any were asked for.
        segment_s: length of a segment when none are given.
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
        spec: the task; one that foretells has a single graph, every other one graph a segment.
        config: S and the rules by which rows are chosen.
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
