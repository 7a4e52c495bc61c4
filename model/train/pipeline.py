"""Training pipeline: every part of a method trained once, scored and assembled to a bundle."""

from collections.abc import Sequence
from typing import cast

from torch import nn

from model.config import Learning
from model.nn.skill_set import Backbone
from model.train.assemble import assemble, group_skills, score
from model.train.datasets.prepared import Prepared
from model.train.ledger import Ledger, stage_key
from model.train.methods.stages import SkillOnBackbone
from model.train.methods.trainer import ALL_TASKS, Tensors, Trainer, Training, needs_of, parts_of
from weights.bundle import Bundle

TYPICAL_S = {"mtl": 150.0, "mtl-pcgrad": 300.0, "backpack": 2.0}
"""Seconds of a part on tabletop and two cores; `TYPICAL_SKILL_S` where it is not named."""

TYPICAL_SKILL_S = 55.0


class TrainingPipeline:
    """Trains parts and whatever they need, unless that was done before."""

    def __init__(self, trainer: Trainer, ledger: Ledger, upstream: str) -> None:
        """Sets the bench up.

        Args:
            trainer: carries trainings out.
            ledger: keeps them.
            upstream: key of the samples; another one makes everything again.
        """
        self.trainer, self.ledger, self._upstream = trainer, ledger, upstream
        self._made: dict[Training, Tensors] = {}
        self._backbones: dict[Training, Backbone] = {}

    def key(self, part: Training) -> str:
        """Returns the hash of everything a part depends on."""
        below = [self.key(need) for need in self.trainer.needs(part)]
        trainer = self.trainer
        return stage_key(
            self._upstream,
            part,
            below,
            trainer.config(part),
            trainer.fit_config(part),
            trainer.seed,
        )

    def tensors(self, part: Training) -> Tensors:
        """Returns a part's tensors; trains it, and the parts it needs, if that was not done."""
        if part not in self._made:
            below = {need: self.tensors(need) for need in self.trainer.needs(part)}
            key = self.key(part)
            checkpoint = self.ledger.checkpoint(part.name, key)
            self._made[part] = self.ledger.tensors(
                part.name, key, lambda: self.trainer.train(part, below, checkpoint=checkpoint)
            )
        return self._made[part]

    def models(self, parts: Sequence[Training]) -> dict[str, nn.Module]:
        """Returns task -> model; models with the same frozen backbone share it."""
        found: dict[str, nn.Module] = {}
        for part in parts:
            self.tensors(part)
            found |= self.trainer.models(part, self._made, self._backbones)
        return found


def plan(parts: Sequence[Training], tasks: tuple[str, ...] = ALL_TASKS) -> list[Training]:
    """Returns the parts and everything they need, each once, in an order that can be made."""
    ordered: dict[Training, None] = {}
    for part in parts:
        for need in needs_of(part, tasks):
            ordered |= dict.fromkeys(plan([need], tasks))
        ordered[part] = None
    return list(ordered)


def typical_seconds(
    parts: Sequence[Training], tasks: tuple[str, ...] = ALL_TASKS
) -> dict[str, float]:
    """Returns how long each part, and what it needs, may take: where estimates start from."""
    return {p.name: TYPICAL_S.get(p.kind, TYPICAL_SKILL_S) for p in plan(parts, tasks)}


def learn_bundle(
    name: str,
    prepared: Prepared,
    learning: Learning,
    method: str,
    ledger: Ledger,
    *,
    tasks: tuple[str, ...],
    seed: int,
    device: str,
    training: dict[str, object],
) -> Bundle | None:
    """Returns a bundle of everything one method learns; whatever was trained before is kept.

    Of several ranks only the first gets it; all train.

    Args:
        name: of the bundle.
        prepared: the data.
        learning: model and optimisation.
        method: one of `model.train.methods.trainer.SERVABLE`.
        ledger: where finished parts lie, and who trains together.
        tasks: what to learn.
        seed: of everything random.
        device: where to train.
        training: what the manifest should say besides: command, protocol, threads.
    """
    train = prepared.samples["train"]
    world = ledger.world
    trainer = Trainer(train, prepared.num_labels, learning, seed, device, tasks=tasks, world=world)
    bench = TrainingPipeline(trainer, ledger, prepared.key)
    parts = parts_of(method, tasks)
    models = cast(dict[str, SkillOnBackbone], bench.models(parts))
    skills = group_skills(models)
    key = stage_key(sorted(bench.key(part) for part in parts))
    scores = ledger.value("scores", key, lambda: score(skills, prepared, learning))
    if not world.is_first:
        return None
    seconds = {stage: round(s, 1) for stage, s in ledger.seconds.items()}
    facts = {"method": method, "seed": seed, "seconds": seconds, **training}
    return assemble(name, skills, prepared, learning, scores, facts)
