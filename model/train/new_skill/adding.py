"""A learnt skill as one more of a bundle: manifest, tensors and a section of the model card."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.errors import TaskInvalid
from model.nn.few_labels.skill import FewLabelSkill
from model.nn.few_labels.voters import VOTERS
from model.tasks import FIXED_LABELS
from model.train.new_skill.confidence import CROSS_VALIDATION
from model.train.new_skill.scores import Scores
from model.train.new_skill.skill import Learnt, TrainedSkill
from weights.bundle import Bundle, Tensors
from weights.bundle.manifest import Manifest


def check_is_new(name: str, manifest: Manifest) -> None:
    """Raises TaskInvalid where a skill, known task or label space of the bundle has the name."""
    known = {spec["name"] for facts in manifest.backbones.values() for spec in facts["tasks"]}
    taken = {*manifest.skills, *known, *manifest.label_spaces, *FIXED_LABELS}
    if name in taken:
        raise TaskInvalid(
            f"name: the bundle {manifest.name} has a {name!r} already; taken are "
            f"{', '.join(sorted(taken))}"
        )


def add_skill(bundle: Bundle, own: TrainedSkill) -> Bundle:
    """Returns the bundle with one more skill; its other tensors are the same objects."""
    return add_version(bundle, *skill_files(own))


def skill_files(own: TrainedSkill) -> tuple[Tensors, dict[str, Any]]:
    """Returns a skill as tensors and plain JSON values, from which `add_version` adds it."""
    skill, learnt = own.learner.skill, own.learnt
    facts: dict[str, Any] = {
        "spec": skill.spec.to_dict(),
        "backbone": own.backbone,
        "perspectives": list(skill.perspectives),
    }
    if isinstance(skill, FewLabelSkill):
        facts |= {"voters": skill.weights, "examples": learnt.examples}
    metrics: dict[str, Scores] = dict(own.metrics)
    if learnt.confidence is not None and learnt.confidence.held_out:
        metrics[CROSS_VALIDATION] = learnt.confidence.metrics()
    entry = {
        "name": skill.spec.name,
        "output": skill.spec.outputs[0],
        "labels": own.labels,
        "skill": facts,
        "calibration": learnt.temperature.entry(),
        "training": learnt.training,
        "samples": own.num_samples,
        "metrics": metrics,
        "baselines": own.baselines,
        "card": _card_section(own),
    }
    return dict(skill.state_dict()), entry


def add_version(
    bundle: Bundle,
    tensors: Tensors,
    entry: Mapping[str, Any],
    *,
    threshold: float | None = None,
) -> Bundle:
    """Returns the bundle with one more skill, from what `skill_files` gave.

    Args:
        bundle: that the skill was learnt on, or that bundle with other skills added.
        tensors: of the skill.
        entry: what is said of it.
        threshold: probability of its top label from which on an answer is certain; None leaves
            answers without a word on it.

    Raises:
        TaskInvalid: the bundle has the name already, or the threshold is not from 0 to 1.
    """
    manifest, task = bundle.manifest, entry["name"]
    check_is_new(task, manifest)
    facts = dict(entry["skill"])
    if threshold is not None:
        if not 0 <= threshold <= 1:
            raise TaskInvalid(f"threshold: expected a probability from 0 to 1, got {threshold}")
        facts["threshold"] = threshold
    training = dict(manifest.training)
    training["skills"] = {**training.get("skills", {}), task: entry["training"]}
    training["samples"] = _merged(training.get("samples", {}), task, entry["samples"])
    output, baselines = entry["output"], entry["baselines"]
    changed = replace(
        manifest,
        skills={**manifest.skills, task: facts},
        label_spaces={**manifest.label_spaces, output: entry["labels"]},
        calibration={**manifest.calibration, f"{task}.{output}": entry["calibration"]},
        training=training,
        metrics=_merged(manifest.metrics, task, entry["metrics"]),
        baselines={
            split: _merged(manifest.baselines.get(split, {}), task, baselines.get(split, {}))
            for split in {**manifest.baselines, **baselines}
        },
    )
    return replace(
        bundle,
        manifest=changed,
        skills={**bundle.skills, task: tensors},
        card=f"{bundle.card}\n{entry['card']}",
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
