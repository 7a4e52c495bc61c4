"""Training pipeline: every part of a method trained once, scored and assembled to a bundle."""

from collections.abc import Sequence
from typing import cast

from torch import nn

from model.config import Learning
from model.nn.skill_set import Backbone
from model.train.assemble import assemble, group_skills, score
from model.train.datasets.prepared import Prepared
from model.train.forecast.stage import learn_forecaster
from model.train.ledger import Ledger, stage_key
from model.train.methods.stages import SkillOnBackbone
from model.train.methods.trainer import ALL_TASKS, Tensors, Trainer, Training, needs_of, parts_of
from weights.bundle import Bundle

TYPICAL_S = {"mtl": 150.0, "mtl-pcgrad": 300.0, "backpack": 2.0}
"""Seconds of a part on tabletop and two cores; other parts take `TYPICAL_SKILL_S`."""

TYPICAL_SKILL_S = 55.0


class TrainingPipeline:
    """Trains parts and what they depend on, each once, cached by a ledger."""

    def __init__(self, trainer: Trainer, ledger: Ledger, upstream: str) -> None:
        """Sets up an empty pipeline.

        Args:
            trainer: carries trainings out.
            ledger: caches their tensors.
            upstream: key of the samples, of which every other key is made.
        """
        self.trainer, self.ledger, self._upstream = trainer, ledger, upstream
        self._made: dict[Training, Tensors] = {}
        self._backbones: dict[Training, Backbone] = {}

    def key(self, part: Training) -> str:
        """Returns the hash of everything a part depends on."""
        trainer = self.trainer
        below = [self.key(need) for need in trainer.needs(part)]
        config, fit_config = trainer.config(part), trainer.fit_config(part)
        return stage_key(self._upstream, part, below, config, fit_config, trainer.seed)

    def tensors(self, part: Training) -> Tensors:
        """Returns a part's tensors; trains it, and the parts it needs, unless they are cached."""
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
    """Returns the parts and everything they need, each once, in topological order."""
    ordered: dict[Training, None] = {}
    for part in parts:
        for need in needs_of(part, tasks):
            ordered |= dict.fromkeys(plan([need], tasks))
        ordered[part] = None
    return list(ordered)


def typical_seconds(
    parts: Sequence[Training], tasks: tuple[str, ...] = ALL_TASKS
) -> dict[str, float]:
    """Returns the expected seconds of each part and of what it needs, by name."""
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
    """Trains one method and returns its bundle; None on every rank but the first.

    Args:
        name: of the bundle.
        prepared: the data.
        learning: model and optimisation.
        method: one of `model.train.methods.trainer.SERVABLE`.
        ledger: caches finished parts; has the ranks that train together.
        tasks: to train.
        seed: for all random generators.
        device: "cpu", "cuda" or "cuda:N".
        training: further entries of the manifest: command, protocol, threads.
    """
    train = prepared.samples["train"]
    world = ledger.world
    trainer = Trainer(
        train, prepared.num_labels, learning, seed, device,
        tasks=tasks, actions=prepared.actions, world=world,
    )  # fmt: skip
    pipeline = TrainingPipeline(trainer, ledger, prepared.key)
    parts = parts_of(method, tasks)
    models = cast(dict[str, SkillOnBackbone], pipeline.models(parts))
    skills = group_skills(models)
    key = stage_key(sorted(pipeline.key(part) for part in parts))
    learnt = learn_forecaster(
        skills.task_models(), prepared, learning, ledger, key, seed=seed, device=device
    )
    facts: dict[str, object] = {} if learnt is None else {"forecaster": learnt.facts}
    forecaster = None if learnt is None else learnt.kept
    scores = ledger.value(
        "scores",
        stage_key(key, facts, learning.forecaster, learning.forecasting) if learnt else key,
        lambda: score(skills, prepared, learning, forecaster),
    )
    if not world.is_first:
        return None
    seconds = {stage: round(s, 1) for stage, s in ledger.seconds.items()}
    facts |= {"method": method, "seed": seed, "seconds": seconds, **training}
    return assemble(name, skills, prepared, learning, scores, facts, forecaster=forecaster)
