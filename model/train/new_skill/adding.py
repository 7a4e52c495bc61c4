"""A learnt skill as one more of a bundle: manifest, tensors and a section of the model card."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.data.task_file import TaskFile
from model.errors import TaskInvalid
from model.nn.few_labels.skill import FewLabelSkill
from model.nn.few_labels.voters import VOTERS
from model.tasks import FIXED_LABELS
from model.train.new_skill.skill import Learnt, TrainedSkill
from weights.bundle import Bundle
from weights.bundle.manifest import Manifest

CROSS_VALIDATION = "cross-validation"
"""Of the training labels: stands among the splits of a manifest's metrics."""


def check_is_new(task: TaskFile, manifest: Manifest) -> None:
    """Raises TaskInvalid where a skill, known task or label space of the bundle has the name."""
    known = {spec["name"] for facts in manifest.backbones.values() for spec in facts["tasks"]}
    taken = {*manifest.skills, *known, *manifest.label_spaces, *FIXED_LABELS}
    if task.spec.name in taken:
        raise TaskInvalid(
            f"name: the bundle {manifest.name} has a {task.spec.name!r} already; taken are "
            f"{', '.join(sorted(taken))}"
        )


def add_skill(bundle: Bundle, own: TrainedSkill) -> Bundle:
    """Returns the bundle with one more skill; its other tensors are the same objects."""
    manifest, skill, learnt = bundle.manifest, own.learner.skill, own.learnt
    task, output = skill.spec.name, skill.spec.outputs[0]
    entry: dict[str, Any] = {
        "spec": skill.spec.to_dict(),
        "backbone": own.backbone,
        "perspectives": list(skill.perspectives),
    }
    if isinstance(skill, FewLabelSkill):
        entry |= {"voters": skill.weights, "examples": learnt.examples}
    training = dict(manifest.training)
    training["skills"] = {**training.get("skills", {}), task: learnt.training}
    training["samples"] = _merged(training.get("samples", {}), task, own.num_samples)
    metrics = dict(own.metrics)
    if learnt.confidence is not None and learnt.confidence.held_out:
        metrics[CROSS_VALIDATION] = learnt.confidence.metrics()
    changed = replace(
        manifest,
        skills={**manifest.skills, task: entry},
        label_spaces={**manifest.label_spaces, output: own.labels},
        calibration={**manifest.calibration, f"{task}.{output}": learnt.temperature.entry()},
        training=training,
        metrics=_merged(manifest.metrics, task, metrics),
        baselines={
            split: _merged(manifest.baselines.get(split, {}), task, own.baselines.get(split, {}))
            for split in {**manifest.baselines, **own.baselines}
        },
    )
    return replace(
        bundle,
        manifest=changed,
        skills={**bundle.skills, task: dict(skill.state_dict())},
        card=f"{bundle.card}\n{_card_section(own)}",
    )


def _merged(
    rows: Mapping[str, Mapping[str, object]], task: str, added: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """Adds one task's entry under each key."""
    return {
        key: {**rows.get(key, {}), **({task: added[key]} if key in added else {})}
        for key in {**rows, **added}
    }


def _card_section(own: TrainedSkill) -> str:
    skill, learnt = own.learner.skill, own.learnt
    counts = ", ".join(f"{count} {split}" for split, count in own.num_samples.items())
    about = f"""## Skill `{skill.spec.name}`, added later

Learnt on the frozen backbone `{own.backbone}` {_how(own)} (seed {learnt.training["seed"]}; \
samples: {counts}). Labels: {", ".join(own.labels)}. {_temperature(learnt)}"""
    sections = [about, *map(own.table, own.metrics)]
    if isinstance(skill, FewLabelSkill):
        lines = ["| voter | weight | |", "|---|---:|---|"]
        lines += [f"| {n} | {w:.2f} | {VOTERS[n].about} |" for n, w in skill.weights.items()]
        sections.insert(1, "\n".join(lines))
    sections[1:1] = learnt.lines()
    return "\n\n".join(sections) + "\n"


def _how(own: TrainedSkill) -> str:
    """How a skill was learnt, as a part of a sentence."""
    skill = own.learner.skill
    if isinstance(skill, FewLabelSkill):
        if not skill.perspectives:
            return "by a plain head"
        confidence = own.learnt.confidence
        is_judged = confidence is not None and confidence.held_out
        return f"by voters weighed by {'cross-validation' if is_judged else 'default'}"
    if skill.perspectives:
        return f"with the backpack of {', '.join(skill.perspectives)}"
    return "without a backpack"


def _temperature(learnt: Learnt) -> str:
    temperature = learnt.temperature
    if temperature.ece is None:
        return f"Temperature {temperature.value:.2f}: labels are too few to fit one."
    where = "val" if learnt.confidence is None else "held-out labels"
    before, after = temperature.ece
    return f"""Temperature {temperature.value:.2f}, fitted on {where}; \
calibration error there {before:.3f} before and {after:.3f} after, \
which is optimistic{", as is the `ece` of val" if where == "val" else ""}."""
