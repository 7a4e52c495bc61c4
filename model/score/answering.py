"""Answers to challenge items from the track of their video, in float64.

An answer depends on the bundle, the features, the seed and its own id, and on nothing else. In
float32 the shape of a batch changes a probability by about 1e-7, enough to change an occasional
draw or nearest prototype among a test set's millions; in float64 by 1e-16.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from extract.features.track import FeatureTrack
from extract.features.track_check import track_fault
from model.config import ModelConfig
from model.data.samples import Samples, Tracks
from model.data.sequences import ObservedActions, Windows
from model.errors import FeatureMismatch, ScoringRefused, UnknownTask
from model.evaluate.options import FutureChoice, with_futures
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import build_forecaster
from model.forecast.recognition import recognise
from model.forecast.sampling import PastActions
from model.nn.skill import Votes
from model.nn.skill_set import SkillSet, build_skills
from model.nodes import pick_nodes
from model.predict.futures import draw_split, forecast_split, keep_futures
from model.score.test_set import ChallengeItem
from model.tasks import AR, IGNORE, LTA, Readout, TaskSpec
from weights.bundle import Bundle


class ChallengeAnswerer:
    """Answers the items of a test set with one bundle.

    Attributes:
        config: of the model.
        depends_on_batch: whether answers depend on the batch size: the model normalises over its
            batch (`norm="batch"`).
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        seed: int = 0,
        future_temperature: float | None = None,
        future_choice: FutureChoice | None = None,
        batch_size: int = 64,
        device: str = "cpu",
    ) -> None:
        """Builds the models of a bundle.

        Args:
            bundle: loaded and verified.
            seed: of LTA's sampled futures.
            future_temperature: of their logits; None takes the bundle's.
            future_choice: of the hypotheses; None takes the bundle's.
            batch_size: graphs in a batch.
            device: "cpu" or a CUDA device.

        Raises:
            BundleError: the tensors do not fit the manifest.
        """
        manifest = bundle.manifest
        self._seed, self._batch_size, self._device = seed, batch_size, torch.device(device)
        self._skills = _in_float64(build_skills(bundle, search="torch"), self._device)
        own = ModelConfig.from_dict(manifest.model)
        self.config = with_futures(own, future_temperature, future_choice)
        self.depends_on_batch = self.config.norm == "batch"
        forecaster = build_forecaster(bundle)
        self._forecaster = None if forecaster is None else forecaster.double()
        self._temperature = {k: v["temperature"] for k, v in manifest.calibration.items()}
        self._labels = manifest.label_spaces
        self._encoder = manifest.encoder

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Checks that tasks can be answered.

        Raises:
            UnknownTask: a task has no skill in the bundle.
        """
        for task in tasks:
            if task not in self._skills.specs:
                raise UnknownTask(task, tuple(self._skills.specs))

    def check_labels(self, taxonomy: Mapping[str, Sequence[str]]) -> None:
        """Checks that label ids have the same names in the bundle and in the annotations.

        Raises:
            ScoringRefused: they have not. Further names at the taxonomy's end are allowed.
        """
        for space, names in taxonomy.items():
            ours = self._labels[space]
            for place, name in enumerate(ours):
                theirs = repr(names[place]) if place < len(names) else "nothing"
                if repr(name) != theirs:
                    raise ScoringRefused(
                        f"{space} {place} is {name!r} in the bundle and {theirs} in the "
                        f"annotations' taxonomy ({len(ours)} and {len(names)} names): this bundle "
                        "was trained on another label space, or another version of the data"
                    )

    def check_track(self, track: FeatureTrack) -> None:
        """Checks that a track is well-formed and of the bundle's encoder, where it names one.

        Raises:
            FeatureMismatch: it is not.
        """
        if fault := track_fault(track):
            raise FeatureMismatch(f"features of {track.video_id}: {fault}")
        width, made_by = track.features.shape[1], track.encoder.fingerprint
        if width != self.config.input_size:
            raise FeatureMismatch(
                f"features of {track.video_id} have {width} numbers, this bundle's model takes "
                f"{self.config.input_size}"
            )
        expected = self._encoder.get("fingerprint")
        if made_by and expected and made_by != expected:  # a bare tensor does not name its encoder
            raise FeatureMismatch(
                f"features of {track.video_id} come from {track.encoder.name} {made_by[:12]}, this "
                f"bundle's encoder is {self._encoder.get('name')} {expected[:12]}"
            )

    @torch.inference_mode()
    def answer(
        self, task: str, items: Sequence[ChallengeItem], track: FeatureTrack
    ) -> dict[str, Any]:
        """Returns the answers to one task's items of one video, id -> answer.

        Raises:
            FeatureMismatch: the track is of another encoder.
        """
        self.check_track(track)
        spec = self._skills.specs[task]
        answers: dict[str, Any] = {}
        if task == LTA.name and self._forecaster is not None:
            return self._forecast(self._forecaster, items, track)
        for first in range(0, len(items), self._batch_size):
            batch = items[first : first + self._batch_size]
            nodes = self._nodes(spec, batch, track).to(self._device, torch.float64)
            fused = self._skills({task: nodes})[task].fused()
            logits = {name: values.cpu() for name, values in fused.items()}
            if spec.readout is Readout.FUTURE:
                drawn = draw_split(
                    logits, [item.id for item in batch], config=self.config, seed=self._seed
                )
                answers |= self._futures(spec, batch, drawn)
                continue
            for place, item in enumerate(batch):
                mine = {name: values[place] for name, values in logits.items()}
                answers[item.id] = self._read(spec, item, mine)
        return answers

    def _nodes(self, spec: TaskSpec, items: Sequence[ChallengeItem], track: FeatureTrack) -> Tensor:
        """Observed nodes, (G, n, S, D_in).

        Where fewer segments are observed than a graph has, the first one is repeated.
        """
        seen = [item.segments[-spec.num_segments :] for item in items]
        padded = [(s[0],) * (spec.num_segments - len(s)) + s for s in seen]
        rows = torch.full((len(items),), len(track.features))
        pick = pick_nodes(spec, torch.tensor(padded), rows, config=self.config)
        return pick.gather(track.features)

    def _read(self, spec: TaskSpec, item: ChallengeItem, logits: Mapping[str, Tensor]) -> Any:
        """Returns one graph's answer as its file has it, from logits, output -> (n, Y)."""
        if spec.readout is Readout.GRAPH:
            return bool(logits["state"][0].argmax() == 1)
        node = int(logits["keyframe"][:, 0].argmax())
        return node * item.length_frames / spec.num_nodes  # the node's left edge

    def _forecast(
        self, forecaster: SequenceForecaster, items: Sequence[ChallengeItem], track: FeatureTrack
    ) -> dict[str, Any]:
        """Returns LTA's answers by the sequence forecaster, after all earlier actions of a clip."""
        samples = _observed(items, track)
        past = recognise(samples, self._recognise, self.config, self._temperature)
        past = PastActions(past.verb.double(), past.noun.double())
        drawn = forecast_split(forecaster, past, samples, config=self.config, seed=self._seed)
        return self._futures(LTA, items, drawn)

    def _recognise(self, nodes: Tensor) -> dict[str, Tensor]:
        votes: Votes = self._skills({AR.name: nodes.to(self._device, torch.float64)})[AR.name]
        return votes.fused()

    def _futures(
        self, spec: TaskSpec, items: Sequence[ChallengeItem], drawn: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Returns the hypotheses of each item, id -> output -> K lists, from (G, N, Z) draws."""
        kept = keep_futures(drawn, self.config)
        listed = {name: kept[name].tolist() for name in spec.outputs}
        return {
            item.id: {name: values[place] for name, values in listed.items()}
            for place, item in enumerate(items)
        }


def _observed(items: Sequence[ChallengeItem], track: FeatureTrack) -> Samples:
    """LTA's items of one video as samples that know the earlier actions of their clips."""
    longest: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}
    clips: list[tuple[tuple[int, int], ...]] = []
    for item in sorted(items, key=lambda i: -len(i.segments)):
        if item.segments not in longest:
            clips.append(item.segments)
            longest |= {item.segments[: n + 1]: item.segments for n in range(len(item.segments))}
    length = torch.tensor([len(clip) for clip in clips])
    start = length.cumsum(0) - length
    clip = torch.tensor([clips.index(longest[item.segments]) for item in items])
    last = start[clip] + torch.tensor([len(item.segments) - 1 for item in items])
    total = int(length.sum())
    rows = torch.full((total,), len(track.features))
    segments = torch.tensor([bounds for mine in clips for bounds in mine])
    past = ObservedActions(
        segments,
        torch.full((total, 2), IGNORE),
        start.repeat_interleave(length),
        torch.zeros_like(rows),
        rows,
        Windows(clip, start[clip], last),
    )
    return Samples(
        LTA,
        Tracks.join([track]),
        segments[last].unsqueeze(1),
        torch.zeros_like(last),
        rows[last],
        {},
        names=[item.id for item in items],
        past=past,
    )


def _in_float64(skills: SkillSet, device: torch.device) -> SkillSet:
    """Moves every model and prototype of a skill set."""
    skills = skills.to(device, torch.float64)
    skills.backpacks = {
        name: backpack and backpack.to(device, torch.float64)
        for name, backpack in skills.backpacks.items()
    }
    return skills
