"""Samples of the four tasks from a split's records: AR, LTA, OSCC and PNR (supplement A.1)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from model.data.records import ActionRecord, ChangeRecord, SplitRecords, group_by_clip
from model.data.samples import Samples, Tracks
from model.data.sequences import ObservedActions, Windows
from model.tasks import AR, IGNORE, LTA, OSCC, PNR, TaskSpec

Enumeration = Literal["current", "before-2023-08"]
"""Enumeration of LTA windows; evaluations before August 2023, such as the paper's, leave out the
last window of every clip."""


def split_samples(
    records: SplitRecords, tracks: Tracks, *, enumeration: Enumeration = "current"
) -> dict[str, Samples]:
    """Returns the samples of a split, of the tasks that its records were read for.

    Samples without any label are left out.

    Args:
        records: of the split.
        tracks: features of their videos.
        enumeration: of LTA windows.
    """
    actions, changes = records.actions, records.changes
    made = {
        AR.name: action_samples(actions, tracks),
        LTA.name: anticipation_samples(actions, tracks, enumeration=enumeration),
        OSCC.name: change_samples(changes, tracks),
        PNR.name: keyframe_samples(changes, tracks),
    }
    return {task: samples.labelled() for task, samples in made.items() if task in records.tasks}


def action_samples(actions: list[ActionRecord], tracks: Tracks, *, spec: TaskSpec = AR) -> Samples:
    """AR: every action with its neighbours in the clip, the ends repeated.

    A record's verb and noun are the labels of the spec's first and second output.
    """
    reach = spec.num_segments // 2
    index = [torch.zeros(0, spec.num_segments, dtype=torch.long)]
    for positions in group_by_clip(actions):
        place = torch.tensor(positions)
        around = torch.arange(len(place)).unsqueeze(1) + torch.arange(-reach, reach + 1)
        index.append(place[around.clamp(0, len(place) - 1)])
    order = torch.cat(index)  # (M, 9) positions in actions
    return _from_actions(spec, actions, tracks, order, order[:, reach : reach + 1])


def anticipation_samples(
    actions: list[ActionRecord],
    tracks: Tracks,
    *,
    spec: TaskSpec = LTA,
    enumeration: Enumeration = "current",
) -> Samples:
    """LTA: two consecutive observed actions and the next 20, sliding by one (authors' code).

    A record's verb and noun are the labels of the spec's first and second output.
    """
    observed, length = spec.num_segments, spec.num_nodes
    windows = [torch.zeros(0, length, dtype=torch.long)]
    clips = []
    for positions in group_by_clip(actions):
        count = len(positions) - length + (1 if enumeration == "current" else 0)
        if count > 0:
            windows.append(torch.tensor(positions).unfold(0, length, 1)[:count])
            clips.append((positions, count))
    order = torch.cat(windows)
    samples = _from_actions(spec, actions, tracks, order[:, :observed], order[:, observed:])
    return replace(samples, past=_observed_actions(spec, actions, tracks, clips))


def _observed_actions(
    spec: TaskSpec,
    actions: list[ActionRecord],
    tracks: Tracks,
    clips: Sequence[tuple[Sequence[int], int]],
) -> ObservedActions:
    """All actions of clips, each with its number of windows."""
    mine = [actions[place] for positions, _ in clips for place in positions]
    length = torch.tensor([len(positions) for positions, _ in clips], dtype=torch.long)
    start = length.cumsum(0) - length
    clip = torch.arange(len(clips)).repeat_interleave(
        torch.tensor([count for _, count in clips], dtype=torch.long)
    )
    steps = [torch.arange(count) for _, count in clips]
    last = start[clip] + torch.cat([torch.zeros(0, dtype=torch.long), *steps])
    ids = [[IGNORE if i is None else i for i in (a.verb, a.noun)] for a in mine]
    bounds = [[a.start_frame, a.end_frame] for a in mine]
    return ObservedActions(
        torch.tensor(bounds, dtype=torch.long).view(-1, 2),
        torch.tensor(ids, dtype=torch.long).view(-1, 2),
        start.repeat_interleave(length),
        *tracks.locate([a.video_uid for a in mine]),
        Windows(clip, start[clip], last + spec.num_segments - 1),
    )


def change_samples(
    changes: list[ChangeRecord], tracks: Tracks, *, spec: TaskSpec = OSCC
) -> Samples:
    """OSCC: every segment, positive and negative."""
    states = [IGNORE if r.state_change is None else int(r.state_change) for r in changes]
    labels = torch.tensor(states, dtype=torch.long).unsqueeze(1)
    return _from_changes(spec, changes, tracks, {spec.outputs[0]: labels})


def keyframe_samples(
    changes: list[ChangeRecord], tracks: Tracks, *, spec: TaskSpec = PNR
) -> Samples:
    """PNR: positive segments, and those with hidden labels."""
    kept = [r for r in changes if r.pnr_frame is not None or r.state_change is None]
    keyframe = [math.nan if r.pnr_frame is None else float(r.pnr_frame) for r in kept]
    samples = _from_changes(spec, kept, tracks, {})
    return replace(samples, pnr_frame=torch.tensor(keyframe, dtype=torch.float64))


def _from_actions(
    spec: TaskSpec, actions: list[ActionRecord], tracks: Tracks, inputs: Tensor, targets: Tensor
) -> Samples:
    bounds = torch.tensor([[a.start_frame, a.end_frame] for a in actions], dtype=torch.long)
    ids = ([a.verb for a in actions], [a.noun for a in actions])
    labels = {
        output: torch.tensor([IGNORE if i is None else i for i in found], dtype=torch.long)[targets]
        for output, found in zip(spec.outputs, ids, strict=False)
    }
    answered = [actions[p] for p in inputs[:, spec.answered].tolist()]
    return Samples(
        spec,
        tracks,
        bounds.view(-1, 2)[inputs],
        *tracks.locate([record.video_uid for record in answered]),
        labels,
        names=[f"{record.clip_uid}_{record.action_idx}" for record in answered],
    )


def _from_changes(
    spec: TaskSpec, changes: list[ChangeRecord], tracks: Tracks, labels: dict[str, Tensor]
) -> Samples:
    bounds = torch.tensor([[r.start_frame, r.end_frame] for r in changes], dtype=torch.long)
    seconds = torch.tensor([[r.start_s, r.end_s] for r in changes], dtype=torch.float64)
    return Samples(
        spec,
        tracks,
        bounds.view(-1, 1, 2),
        *tracks.locate([record.video_uid for record in changes]),
        labels,
        seconds=seconds.view(-1, 2),
        names=[r.unique_id for r in changes],
    )
