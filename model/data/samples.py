"""Samples of one task over a feature matrix, batched without a loop over samples.

All tracks are in one matrix; a sample is a few frame numbers. Drawing a batch computes the rows of
every node of every graph at once and gathers them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from extract.features.track import EncoderId, FeatureTrack
from model.config import ModelConfig
from model.data.crops import CropRule, crop_segments
from model.data.sequences import ObservedActions
from model.nodes import node_frames, pick_nodes
from model.tasks import IGNORE, TaskSpec


@dataclass(frozen=True, eq=False)
class Tracks:
    """Feature matrix of all videos.

    Attributes:
        features: (R, D_in) float32, or float16, which is converted when read; may be
            memory-mapped.
        offset: video -> its first row.
        rows: video -> number of its rows.
        encoder: of the features, if known.
    """

    features: Tensor
    offset: dict[str, int]
    rows: dict[str, int]
    encoder: EncoderId | None = None

    @classmethod
    def join(cls, tracks: Iterable[FeatureTrack]) -> "Tracks":
        """Concatenates tracks."""
        listed = list(tracks)
        rows = {track.video_id: len(track.features) for track in listed}
        offset, total = {}, 0
        for name, count in rows.items():
            offset[name] = total
            total += count
        made_by = listed[0].encoder
        return cls(torch.cat([track.features for track in listed]), offset, rows, made_by)

    def locate(self, videos: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns the first row and the number of rows of each video, (M,) int64 both."""
        places = [(self.offset[video], self.rows[video]) for video in videos]
        first, count = torch.tensor(places, dtype=torch.long).view(-1, 2).T
        return first, count

    @classmethod
    def unread(cls, videos: Iterable[str]) -> "Tracks":
        """Returns an empty matrix for videos: enough to inspect labels."""
        nowhere = dict.fromkeys(videos, 0)
        return cls(torch.zeros(0, 0), nowhere, nowhere)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of one task.

    Attributes:
        inputs: (G, n, S, D_in) observed nodes; (G, n, 1, D_in) where one vector stands for all S.
        labels: output -> (G, m), m as the task's readout has it.
        shares: output -> share of the labels of all drawn samples, if the batch is a part of them;
            missing outputs have all.
    """

    inputs: Tensor
    labels: dict[str, Tensor]
    shares: dict[str, float] = field(default_factory=dict)

    def to(self, device: str) -> "Batch":
        """Returns the batch on another device."""
        labels = {name: values.to(device) for name, values in self.labels.items()}
        return Batch(self.inputs.to(device), labels, self.shares)


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of one task in one split.

    Attributes:
        spec: the task.
        tracks: the features.
        segments: (M, num_segments, 2) int64 frames, on the features' clock.
        video_offset: (M,) first row of each sample's video.
        video_rows: (M,) rows of each sample's video.
        labels: output -> (M, m) int64, IGNORE where unlabelled; PNR's is derived from `pnr_frame`
            when a batch is drawn.
        pnr_frame: (M,) float64, PNR only; NaN where it is hidden.
        seconds: (M, 2) annotated bounds, OSCC and PNR only.
        names: ids of the samples, as in a submission.
        past: earlier actions of the clips, LTA only.
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
    past: ObservedActions | None = None

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def known(self) -> dict[str, Tensor]:
        """Mask of known labels, output -> (M, m) bool; for PNR of keyframes, (M, 1)."""
        if self.pnr_frame is not None:
            return {self.spec.outputs[0]: ~self.pnr_frame.isnan().unsqueeze(1)}
        return {name: self.labels[name] != IGNORE for name in self.spec.outputs}

    @property
    def hidden(self) -> list[str]:
        """Outputs without any known label."""
        return [name for name, known in self.known.items() if not known.any()]

    def labelled(self) -> "Samples":
        """Returns the samples with any known label; the others remain as context."""
        known = torch.cat(list(self.known.values()), dim=1).any(dim=1)
        return self.take(known.nonzero().squeeze(1))

    def take(self, which: Tensor) -> "Samples":
        """Returns the samples at some positions, (G,); the others remain as context."""

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[which]

        return replace(
            self,
            segments=self.segments[which],
            video_offset=self.video_offset[which],
            video_rows=self.video_rows[which],
            labels={name: values[which] for name, values in self.labels.items()},
            pnr_frame=pick(self.pnr_frame),
            seconds=pick(self.seconds),
            names=[self.names[p] for p in which.tolist()],
            past=None if self.past is None else self.past.take(which),
        )

    def draw(
        self,
        which: Tensor,
        config: ModelConfig,
        *,
        generator: torch.Generator | None = None,
        context_dropout: float = 0.0,
        keyframe_crop: CropRule = "uniform",
        part: slice | None = None,
    ) -> Batch:
        """Returns the selected samples, or a part of them, as one batch.

        Args:
            which: (G,) positions of the samples.
            config: S and the rules of row selection.
            generator: of rows, crops and context dropout in training; None in evaluation.
            context_dropout: share of samples whose other segments repeat the answered one.
            keyframe_crop: rule of PNR's training crops.
            part: slice to read; None reads all. Random numbers are drawn for all samples, so that
                a part is the same as in the whole batch.
        """
        segments = self.segments[which]
        if generator is not None:
            if self.pnr_frame is not None:
                keyframe = self.pnr_frame[which]
                segments = crop_segments(segments, keyframe, keyframe_crop, generator)
            if context_dropout and self.spec.num_segments > 1:
                segments = _isolate(self.spec, segments, context_dropout, generator)
        rows = self.video_rows[which]
        pick = pick_nodes(self.spec, segments, rows, config=config, generator=generator)
        pick = pick.shifted(self.video_offset[which])
        labels = {name: values[which] for name, values in self.labels.items()}
        if self.pnr_frame is not None:
            nearest = _nearest_node(self.spec, segments, self.pnr_frame[which])
            labels[self.spec.outputs[0]] = nearest
        if part is None:
            return Batch(pick.gather(self.tracks.features), labels)
        inputs = pick.part(part).gather(self.tracks.features)
        own = {name: values[part] for name, values in labels.items()}
        return Batch(inputs, own, {n: _count(own[n]) / max(1, _count(labels[n])) for n in own})


def _isolate(spec: TaskSpec, segments: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replaces all segments of a share of the samples by the answered one (context dropout)."""
    answered = spec.answered
    alone = torch.rand(len(segments), 1, 1, generator=generator) < share
    return torch.where(alone, segments[:, answered : answered + 1], segments)


def _count(labels: Tensor) -> int:
    return int((labels != IGNORE).sum())


def _nearest_node(spec: TaskSpec, segments: Tensor, pnr_frame: Tensor) -> Tensor:
    """One-hot over the nodes, (G, N): the instant nearest to the keyframe, the first on ties.

    IGNORE everywhere where the keyframe is hidden.
    """
    instants = node_frames(segments[:, 0], spec.num_nodes)
    nearest = (instants - pnr_frame.unsqueeze(1)).abs().argmin(dim=1)
    hot = torch.nn.functional.one_hot(nearest, spec.num_nodes)
    return hot.masked_fill(pnr_frame.isnan().unsqueeze(1), IGNORE)
