"""Samples of a table's tasks, from its rows and the tracks of its videos."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from extract.features.track import FeatureTrack
from model.data.records import ActionRecord
from model.data.row_checks import FPS
from model.data.samples import Samples, Tracks
from model.data.tables.label_file import Split
from model.data.tables.table import SegmentTable
from model.data.task_samples import action_samples, anticipation_samples
from model.tasks import AR, IGNORE, Readout, TaskSpec

Labels = Mapping[str, Sequence[str]]
"""Output -> names by id."""


def nominal_frames(table: SegmentTable) -> Tensor:
    """Returns each row's bounds, (R, 2) frames at 30 a second: enough to inspect labels."""
    return torch.from_numpy(np.stack([table.start_s, table.end_s], axis=1) * FPS).round().long()


def row_frames(table: SegmentTable, tracks: Sequence[FeatureTrack]) -> Tensor:
    """Returns each row's bounds, (R, 2) frames on the clock of its video's features.

    Args:
        table: seconds on the clock of the video's container.
        tracks: of its videos; rows of others have the frames of `nominal_frames`.
    """
    frames, video = nominal_frames(table), np.array(table.video)
    seconds = torch.from_numpy(np.stack([table.start_s, table.end_s], axis=1))
    for track in tracks:
        mine = torch.from_numpy(video == track.video_id)
        frames[mine] = track.frame_at(seconds[mine])
    frames[:, 1] = torch.maximum(frames[:, 1], frames[:, 0] + 1)
    return frames


def table_samples(
    table: SegmentTable,
    split: Split,
    specs: Mapping[str, TaskSpec],
    labels: Labels,
    frames: Tensor,
    tracks: Tracks,
) -> dict[str, Samples]:
    """Returns the samples of one split, task -> samples; neighbours are rows of the same video.

    Samples without any label are left out; so are labels that have no id.

    Args:
        table: with splits.
        split: to build.
        specs: task -> its row of the task table, of one or two outputs.
        labels: output -> names by id.
        frames: (R, 2) bounds of all rows.
        tracks: features of the split's videos.
    """
    made = {}
    for task, spec in specs.items():
        records = _records(table, split, spec.outputs, labels, frames)
        build = anticipation_samples if spec.readout is Readout.FUTURE else action_samples
        made[task] = build(records, tracks, spec=spec).labelled()
    return made


def prototype_samples(
    table: SegmentTable, outputs: Sequence[str], labels: Labels, frames: Tensor, tracks: Tracks
) -> Samples:
    """Returns the training rows in AR's graphs, with the labels of the backpack's rows."""
    samples = action_samples(_records(table, "train", (), labels, frames), tracks)
    rows = table.rows_in("train")
    return replace(
        samples,
        spec=replace(AR, outputs=tuple(outputs)),
        labels={name: _ids(table, name, labels)[rows].unsqueeze(1) for name in outputs},
    )


def _records(
    table: SegmentTable, split: Split, outputs: Sequence[str], labels: Labels, frames: Tensor
) -> list[ActionRecord]:
    """The rows of a split as actions; the first output stands in for verb, the second for noun."""
    columns: list[list[int | None]] = [
        [None if i == IGNORE else i for i in _ids(table, name, labels).tolist()] for name in outputs
    ]
    columns += [[None] * len(table)] * (len(AR.outputs) - len(columns))
    verb, noun = columns
    bounds = frames.tolist()
    return [
        ActionRecord(table.video[row], table.video[row], row, start, end, verb[row], noun[row])
        for row in table.rows_in(split)
        for start, end in [bounds[row]]
    ]


def _ids(table: SegmentTable, output: str, labels: Labels) -> Tensor:
    """Ids of each row's label of an output, (R,); IGNORE where it has none that is known."""
    place = {name: i for i, name in enumerate(labels[output])}
    ids = [IGNORE if label is None else place.get(label, IGNORE) for label in table.labels[output]]
    return torch.tensor(ids, dtype=torch.long)
