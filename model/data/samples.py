"""Records and tracks -> samples of one task, batched without a loop over samples.

All tracks lie in one matrix; a sample is a few frame numbers. Drawing a batch computes which rows
to read for every node of every graph at once and gathers them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from extract.track import FeatureTrack
from model.config import ModelConfig
from model.data.annotations import ActionRecord, ChangeRecord, group_by_clip
from model.segments import pick_nodes
from model.tasks import AR, LTA, OSCC, PNR, Readout, TaskSpec

MIN_CROP_S = 5.0
"""Training crops of PNR segments last between this and the whole segment, as Ego4D's do."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """All videos' features in one matrix.

    Attributes:
        features: (R, D_in) float32.
        offset: video -> its first row.
        rows: video -> number of its rows.
    """

    features: Tensor
    offset: dict[str, int]
    rows: dict[str, int]

    @classmethod
    def join(cls, tracks: Iterable[FeatureTrack]) -> "Tracks":
        """Lays tracks one after the other."""
        listed = list(tracks)
        rows = {track.video_id: len(track.features) for track in listed}
        offset, total = {}, 0
        for name, count in rows.items():
            offset[name] = total
            total += count
        return cls(torch.cat([track.features for track in listed]), offset, rows)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of one task.

    Attributes:
        inputs: (G, n, S, D_in) observed nodes.
        labels: output -> (G, m), m as the task's readout has it.
    """

    inputs: Tensor
    labels: dict[str, Tensor]

    def to(self, device: str) -> "Batch":
        """Returns the batch on another device."""
        labels = {name: values.to(device) for name, values in self.labels.items()}
        return Batch(self.inputs.to(device), labels)


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of one task in one split.

    Attributes:
        spec: the task.
        tracks: where features are.
        segments: (M, num_segments, 2) int64 frames, on the features' clock.
        video_offset: (M,) first row of each sample's video.
        video_rows: (M,) rows of each sample's video.
        labels: output -> (M, m) int64; PNR's is made from `pnr_frame` when a batch is drawn.
        pnr_frame: (M,) float, PNR only.
        seconds: (M, 2) annotated bounds, OSCC and PNR only.
        names: what each sample is called in a submission.
    """

    spec: TaskSpec
    tracks: Tracks
    segments: Tensor
    video_offset: Tensor
    video_rows: Tensor
    labels: dict[str, Tensor]
    pnr_frame: Tensor | None = None
    seconds: Tensor | None = None
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.segments)

    def draw(
        self,
        which: Tensor,
        config: ModelConfig,
        *,
        generator: torch.Generator | None = None,
        context_dropout: float = 0.0,
    ) -> Batch:
        """Returns the samples named, (G,), as one batch.

        Args:
            which: positions of the samples.
            config: S and the window rules.
            generator: training draws rows, crops and lone contexts from it; None evaluates.
            context_dropout: share of samples whose other segments repeat the answered one.
        """
        segments = self.segments[which]
        if generator is not None:
            if self.pnr_frame is not None:
                segments = _crop(segments, self.pnr_frame[which], generator)
            if context_dropout and self.spec.num_segments > 1:
                segments = _isolate(self.spec, segments, context_dropout, generator)
        rows = self.video_rows[which]
        pick = pick_nodes(self.spec, segments, rows, config=config, generator=generator)
        inputs = pick.shifted(self.video_offset[which]).gather(self.tracks.features)
        labels = {name: values[which] for name, values in self.labels.items()}
        if self.pnr_frame is not None:
            labels[self.spec.outputs[0]] = _nearest_node(self.spec, segments, self.pnr_frame[which])
        return Batch(inputs, labels)


def action_samples(actions: list[ActionRecord], tracks: Tracks) -> Samples:
    """AR: every labelled action with its neighbours in the clip, the ends repeated."""
    reach = AR.num_segments // 2
    index = []
    for positions in group_by_clip(actions):
        place = torch.tensor(positions)
        around = torch.arange(len(place)).unsqueeze(1) + torch.arange(-reach, reach + 1)
        index.append(place[around.clamp(0, len(place) - 1)])
    order = torch.cat(index)  # (M, 9) positions in actions
    centre = order[:, reach]
    return _from_actions(AR, actions, tracks, order, centre.unsqueeze(1))


def anticipation_samples(
    actions: list[ActionRecord], tracks: Tracks, *, skip_last: bool = False
) -> Samples:
    """LTA: two consecutive actions observed, the next 20 to tell, sliding by one (Sec. 4.1).

    Args:
        actions: labelled actions.
        tracks: their features.
        skip_last: leaves out the last window of every clip, as evaluations before August 2023
            (and so the paper's numbers) did.
    """
    observed, length = LTA.num_segments, LTA.num_nodes
    windows = []
    for positions in group_by_clip(actions):
        count = len(positions) - length + (0 if skip_last else 1)
        if count > 0:
            windows.append(torch.tensor(positions).unfold(0, length, 1)[:count])
    order = torch.cat(windows) if windows else torch.zeros(0, length, dtype=torch.long)
    return _from_actions(LTA, actions, tracks, order[:, :observed], order[:, observed:])


def change_samples(changes: list[ChangeRecord], tracks: Tracks) -> Samples:
    """OSCC: every segment, positive and negative."""
    labels = torch.tensor([[int(bool(r.state_change))] for r in changes]).view(-1, 1)
    return _from_changes(OSCC, changes, tracks, {"state": labels})


def keyframe_samples(changes: list[ChangeRecord], tracks: Tracks) -> Samples:
    """PNR: the positive segments only."""
    return _from_changes(PNR, [r for r in changes if r.pnr_frame is not None], tracks, {})


def _from_actions(
    spec: TaskSpec, actions: list[ActionRecord], tracks: Tracks, inputs: Tensor, told: Tensor
) -> Samples:
    bounds = torch.tensor([[a.start_frame, a.end_frame] for a in actions])
    videos = [actions[p].video_uid for p in inputs[:, 0].tolist()]
    ids = {
        "verb": torch.tensor([-1 if a.verb is None else a.verb for a in actions]),
        "noun": torch.tensor([-1 if a.noun is None else a.noun for a in actions]),
    }
    last = [actions[p] for p in inputs[:, -1].tolist()]
    return Samples(
        spec,
        tracks,
        segments=bounds[inputs],
        video_offset=torch.tensor([tracks.offset[v] for v in videos], dtype=torch.long),
        video_rows=torch.tensor([tracks.rows[v] for v in videos], dtype=torch.long),
        labels={name: values[told] for name, values in ids.items()},
        names=[f"{record.clip_uid}_{record.action_idx}" for record in last],
    )


def _from_changes(
    spec: TaskSpec, changes: list[ChangeRecord], tracks: Tracks, labels: dict[str, Tensor]
) -> Samples:
    pnr = [0 if r.pnr_frame is None else r.pnr_frame for r in changes]
    return Samples(
        spec,
        tracks,
        segments=torch.tensor([[[r.start_frame, r.end_frame]] for r in changes]).view(-1, 1, 2),
        video_offset=torch.tensor([tracks.offset[r.video_uid] for r in changes], dtype=torch.long),
        video_rows=torch.tensor([tracks.rows[r.video_uid] for r in changes], dtype=torch.long),
        labels=labels,
        pnr_frame=torch.tensor(pnr, dtype=torch.float64) if spec is PNR else None,
        seconds=torch.tensor([[r.start_s, r.end_s] for r in changes], dtype=torch.float64),
        names=[r.unique_id for r in changes],
    )


def _isolate(spec: TaskSpec, segments: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replaces all segments of a share of the samples by the one that is answered for."""
    is_centre = spec.readout is Readout.CENTRE
    answered = spec.num_segments // 2 if is_centre else spec.num_segments - 1
    alone = torch.rand(len(segments), 1, 1, generator=generator) < share
    return torch.where(alone, segments[:, answered : answered + 1], segments)


def _crop(segments: Tensor, pnr_frame: Tensor, generator: torch.Generator) -> Tensor:
    """Cuts 5-8 s out of each segment at random, keeping the keyframe (against centre bias)."""
    start, end = segments[:, 0].double().unbind(-1)
    fps = 30.0
    whole = end - start
    u = torch.rand(len(whole), 2, generator=generator, dtype=torch.float64)
    shortest = torch.clamp(torch.full_like(whole, MIN_CROP_S * fps), max=whole)
    length = shortest + u[:, 0] * (whole - shortest)
    low = torch.maximum(start, pnr_frame + 1 - length)
    high = torch.minimum(end - length, pnr_frame)
    first = (low + u[:, 1] * (high - low).clamp(min=0)).floor()
    after = torch.minimum((first + length).ceil(), end)
    return torch.stack([first, after], dim=-1).long().unsqueeze(1)


def _nearest_node(spec: TaskSpec, segments: Tensor, pnr_frame: Tensor) -> Tensor:
    """One-hot over the nodes, (G, N): the instant nearest to the keyframe, the first on ties."""
    start, end = segments[:, 0].double().unbind(-1)
    step = (end - start).unsqueeze(1) * torch.arange(spec.num_nodes) / spec.num_nodes
    instants = (start.unsqueeze(1) + step).floor()
    nearest = (instants - pnr_frame.unsqueeze(1)).abs().argmin(dim=1)
    return torch.nn.functional.one_hot(nearest, spec.num_nodes)
