"""One draw of labels, answered by every method: what `compare` repeats."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.data.samples import Samples
from model.evaluate.calibration import collect_logits
from model.nn.few_labels.rows import Rows
from model.nn.few_labels.voters import OWN
from model.nn.skill_set import Backbone
from model.train.fit import FitJob
from model.train.methods.stages import train_skill
from model.train.new_skill.command import SkillData
from model.train.new_skill.few_labels import classes_of, learn_panel, rows_of, videos_of
from model.train.new_skill.gains import BASE
from model.train.new_skill.skill import choose_backbone

EGOPACK = "egopack"
AUTO = "auto"

Right = dict[str, list[int]]
"""Split -> right answers in each video."""


class RowCache:
    """Rows of samples; tasks that ask about the same segments share them."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def rows(self, backbone: Backbone, samples: Samples) -> Rows:
        """Returns the rows of a split, computed once."""
        shape = replace(samples.spec, name="", outputs=())
        digest = hashlib.sha256(repr(shape).encode())
        for part in (samples.segments, samples.video_offset):
            digest.update(part.numpy().tobytes())
        key = digest.hexdigest()
        if key not in self._rows:
            self._rows[key] = rows_of(backbone, samples)
        return self._rows[key]


@dataclass(frozen=True, eq=False)
class Contest:
    """A task whose draws are answered by every method.

    Attributes:
        data: samples and bundle of the task.
        backbone: frozen, with its backpack.
        rows: split -> rows.
        pool: split that labels are drawn from.
    """

    data: SkillData
    backbone: Backbone
    rows: dict[str, Rows]
    pool: str = "train"

    @classmethod
    def of(cls, data: SkillData, cache: RowCache, pool: str = "train") -> "Contest":
        """Computes the rows of every split.

        Raises:
            BackpackInvalid: the bundle has no backpack.
        """
        _, backbone = choose_backbone(data.predictor, has_backpack=True)
        rows = {split: cache.rows(backbone, s) for split, s in data.samples.items()}
        return cls(data, backbone, rows, pool)

    @property
    def scored(self) -> list[str]:
        """Splits that are answered."""
        return [split for split in self.data.samples if split not in ("train", self.pool)]

    def videos(self, split: str) -> dict[str, int]:
        """Returns the samples of each video of a split, in order."""
        names = videos_of(self.data.samples[split])
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def draw(self, count: int, seed: int) -> Tensor:
        """Returns the positions of `count` samples of the pool a class, or of all there are."""
        generator = torch.Generator().manual_seed(seed)
        classes = classes_of(self.data.samples[self.pool])
        order = torch.randperm(len(classes), generator=generator)
        picked = [order[classes[order] == c][:count] for c in range(len(self.data.labels))]
        return torch.cat(picked).sort().values

    def closed_forms(self, drawn: Tensor, seed: int) -> Iterator[tuple[str, Right]]:
        """Answers with the plain head, the chosen weights and every other voter alone."""
        few, rows = self.data.samples[self.pool].take(drawn), self.rows[self.pool].take(drawn)
        panel = learn_panel(self.backbone, few, rows, len(self.data.labels), seed=seed)
        weights = panel.weights()
        votes = {split: panel.votes(self.rows[split]) for split in self.scored}
        factor = torch.tensor([weights.get(n, 0.0) for n in panel.fitted], dtype=torch.float64)
        fused = {split: torch.einsum("v,vmy->my", factor, v) for split, v in votes.items()}
        yield AUTO, {split: self.right(split, logits) for split, logits in fused.items()}
        for place, name in enumerate(panel.fitted):
            right = {split: self.right(split, v[place]) for split, v in votes.items()}
            yield BASE if name == OWN else name, right

    def by_interaction(self, drawn: Tensor, seed: int) -> Right:
        """Answers with the paper's interaction, trained by gradients on the draw."""
        task, train = self.data.task, self.data.samples[self.pool].take(drawn)
        spec, output = task.spec, task.spec.outputs[0]
        job = FitJob(task.fit_for(len(train)), seed, None, progress=False)
        learner = train_skill(self.backbone, spec, train, {output: len(self.data.labels)}, job)
        learner.eval()
        config, right = self.backbone.model.config, {}
        for split in self.scored:
            samples = {spec.name: self.data.samples[split]}
            logits, _ = collect_logits({spec.name: learner}, samples, config)
            right[split] = self.right(split, logits[spec.name][output][:, 0])
        return right

    def right(self, split: str, logits: Tensor) -> list[int]:
        """Returns the right answers in each video of a split, from (M, Y) logits."""
        samples = self.data.samples[split]
        hits = (logits.argmax(dim=1) == classes_of(samples)).tolist()
        total = dict.fromkeys(self.videos(split), 0)
        for video, hit in zip(videos_of(samples), hits, strict=True):
            total[video] += hit
        return list(total.values())
