"""Samples of a user-defined task, from the rows of a labels file and tracks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from extract.features.track import FeatureTrack
from model.data.samples import Samples, Tracks
from model.data.tables.label_file import SPLITS, LabelRow, Split
from model.data.tables.label_rows import outside
from model.errors import AnnotationInvalid
from model.tasks import Readout, TaskSpec


def check_rows(rows: Sequence[LabelRow], tracks: Sequence[FeatureTrack], path: Path) -> None:
    """Checks that every row lies in its video, on the clock of the video's container.

    Raises:
        AnnotationInvalid: a row ends before its video begins or after it ends; names the line.
    """
    for row, column, message in outside(rows, spans_of(tracks)):
        raise AnnotationInvalid(f"{path}, line {row.line}, column {column}: {message}")


def spans_of(tracks: Iterable[FeatureTrack]) -> dict[str, tuple[float, float]]:
    """Returns when each video begins and ends, in seconds on its container's clock."""
    return {track.video_id: (track.origin_s, track.video_end_s) for track in tracks}


def on_features_clock(rows: Sequence[LabelRow], tracks: Sequence[FeatureTrack]) -> list[LabelRow]:
    """Returns rows with times on the clock of the features, from the first decoded frame.

    Labels are on the clock of the video's container, which differs for a track that begins later or
    has 29.97 frames a second.
    """
    known = {track.video_id: track for track in tracks}

    def moved(time_s: float, video: str) -> float:
        track = known[video]
        if track.origin_s == 0 and track.ticks_per_s == track.fps:
            return time_s
        return max(0.0, (time_s - track.origin_s) * track.ticks_per_s / track.fps)

    return [
        replace(
            row,
            start_s=moved(row.start_s, row.video),
            end_s=moved(row.end_s, row.video),
            time_s=None if row.time_s is None else moved(row.time_s, row.video),
        )
        for row in rows
    ]


def custom_samples(
    spec: TaskSpec,
    rows: Sequence[LabelRow],
    split: Split,
    tracks: Tracks,
    labels: Sequence[str],
    *,
    fps: float,
) -> Samples:
    """Returns the samples of one split; neighbours and futures are rows of the same video.

    Args:
        spec: the task.
        rows: of all splits.
        split: to build.
        tracks: features of their videos.
        labels: names by id.
        fps: of the features' clock.

    Raises:
        AnnotationInvalid: no video of the split has enough rows for one forecast.
    """
    mine = sorted(
        (row for row in rows if row.split == split), key=lambda r: (r.video, r.start_s, r.end_s)
    )
    order, answered = _graphs(spec, mine, split)
    frames = torch.tensor([(r.start_s, r.end_s) for r in mine], dtype=torch.float64) * fps
    target = answered[:, 0] if spec.readout is Readout.CENTRE else order[:, -1]
    given: dict[str, Tensor] = {}
    instants = None
    if spec.readout is Readout.NODES:
        instants = torch.tensor([r.time_s for r in mine], dtype=torch.float64)[target] * fps
    else:
        ids = torch.tensor([labels.index(r.label) for r in mine])
        given = {spec.outputs[0]: ids[answered]}
    return Samples(
        spec,
        tracks,
        frames.round().long()[order],
        *tracks.locate([mine[p].video for p in order[:, 0].tolist()]),
        given,
        pnr_frame=instants,
        seconds=torch.tensor([(r.start_s, r.end_s) for r in mine], dtype=torch.float64)[target],
        names=[f"{mine[p].video}:{mine[p].line}" for p in target.tolist()],
    )


def split_samples(
    spec: TaskSpec,
    rows: Sequence[LabelRow],
    tracks: Sequence[FeatureTrack],
    labels: Sequence[str],
    *,
    fps: float,
) -> dict[str, Samples]:
    """Returns the samples of every split that has rows.

    Args:
        spec: the task.
        rows: with their splits, on the clocks of the videos' containers.
        tracks: of their videos.
        labels: names by id.
        fps: of the features' clock.

    Raises:
        AnnotationInvalid: no video of a split has enough rows for one forecast.
    """
    moved, joined = on_features_clock(rows, tracks), Tracks.join(tracks)
    splits = [split for split in SPLITS if any(row.split == split for row in rows)]
    return {s: custom_samples(spec, moved, s, joined, labels, fps=fps) for s in splits}


def draw_fraction(samples: Samples, fraction: float, *, seed: int) -> Samples:
    """Returns a stratified share of the samples, with at least one of every class."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.zeros(len(samples), dtype=torch.long)
    if samples.spec.readout in (Readout.CENTRE, Readout.GRAPH):
        classes = samples.labels[samples.spec.outputs[0]][:, 0]
    kept = []
    for label in classes.unique():
        members = (classes == label).nonzero().squeeze(1)
        count = max(1, round(fraction * len(members)))
        kept.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return samples.take(torch.cat(kept).sort().values)


def _graphs(spec: TaskSpec, rows: Sequence[LabelRow], split: Split) -> tuple[Tensor, Tensor]:
    """Rows of each graph, (M, num_segments), and the labelled rows among them, (M, m)."""
    if spec.readout is Readout.CENTRE:
        reach = spec.num_segments // 2
        around = torch.arange(-reach, reach + 1)

        def neighbours(place: Tensor) -> Tensor:
            steps = torch.arange(len(place)).unsqueeze(1) + around
            return place[steps.clamp(0, len(place) - 1)]

        order = torch.cat([neighbours(place) for place in _by_video(rows)])
        return order, order[:, reach : reach + 1]
    if spec.readout is Readout.FUTURE:
        windows = [
            p.unfold(0, spec.num_nodes, 1) for p in _by_video(rows) if len(p) >= spec.num_nodes
        ]
        if not windows:
            longest = max(map(len, _by_video(rows)), default=0)
            raise AnnotationInvalid(
                f"a forecast of {spec.num_future} rows after {spec.num_segments} needs "
                f"{spec.num_nodes} rows of one video; in {split} the longest video has {longest}"
            )
        order = torch.cat(windows)
        return order[:, : spec.num_segments], order[:, spec.num_segments :]
    order = torch.arange(len(rows)).unsqueeze(1)
    return order, order


def _by_video(rows: Sequence[LabelRow]) -> Iterator[Tensor]:
    """Positions of each video's rows, in time order."""
    videos = [row.video for row in rows]
    for video in dict.fromkeys(videos):
        yield torch.tensor([p for p, name in enumerate(videos) if name == video])
