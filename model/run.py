"""From prepared data to a bundle: parts trained, scored, put together."""

from collections.abc import Sequence
from typing import cast

from model.config import Learning
from model.train.assemble import assemble, group_skills, score
from model.train.datasets.prepared import Prepared
from model.train.ledger import Ledger, stage_key
from model.train.methods.stages import SkillOnBackbone
from model.train.methods.trainer import ALL_TASKS, Trainer, Training, parts_of
from model.train.pipeline import TrainingPipeline, plan
from weights.bundle import Bundle

TYPICAL_S = {"mtl": 150.0, "mtl-pcgrad": 300.0, "backpack": 2.0}
"""Seconds of a part on tabletop and two cores; `TYPICAL_SKILL_S` where it is not named."""

TYPICAL_SKILL_S = 55.0


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
