"""User-defined task: trained on a bundle's frozen backbone, scored, and added as one more skill.

The bundle's tensors are not changed: the new skill is one more file and more entries of the
manifest, so all other answers stay the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from model.data.samples import Samples
from model.data.task_file import TaskFile
from model.errors import BackpackInvalid, TaskInvalid
from model.evaluate.calibration import Calibration, calibrate, collect_logits
from model.evaluate.metrics import calibration_error, class_mean
from model.evaluate.tables import format_table
from model.nn.skill_set import Backbone
from model.predict.answers import output_probabilities
from model.predict.predictor import Predictor
from model.tasks import FIXED_LABELS, Readout
from model.train.fit import FitJob
from model.train.methods.stages import SkillOnBackbone, train_skill
from weights.bundle import Bundle
from weights.bundle.manifest import Manifest

Scores = dict[str, float]
"""Metric -> value."""


@dataclass(frozen=True, eq=False)
class TrainedSkill:
    """A trained skill and its entries in the manifest.

    Attributes:
        learner: the skill on its backbone.
        backbone: name of that backbone in the bundle.
        labels: names by id.
        calibration: of its one output, fitted on val.
        metrics: split -> scores.
        baselines: split -> "frequency" -> scores of a constant answer.
        training: hyper-parameters and seed.
        num_samples: split -> number of samples.
    """

    learner: SkillOnBackbone
    backbone: str
    labels: list[str]
    calibration: Calibration
    metrics: dict[str, Scores]
    baselines: dict[str, dict[str, Scores]]
    training: dict[str, object]
    num_samples: dict[str, int]


def check_is_new(task: TaskFile, manifest: Manifest) -> None:
    """Raises TaskInvalid where a skill, known task or label space of the bundle has the name."""
    known = {spec["name"] for facts in manifest.backbones.values() for spec in facts["tasks"]}
    taken = {*manifest.skills, *known, *manifest.label_spaces, *FIXED_LABELS}
    if task.spec.name in taken:
        raise TaskInvalid(
            f"name: the bundle {manifest.name} has a {task.spec.name!r} already; taken are "
            f"{', '.join(sorted(taken))}"
        )


def learn_skill(
    predictor: Predictor,
    task: TaskFile,
    samples: Mapping[str, Samples],
    labels: list[str],
    *,
    seed: int,
    has_backpack: bool = True,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> TrainedSkill:
    """Trains a task on its training samples and scores it on the other splits.

    Args:
        predictor: has the frozen backbone and the backpack.
        task: to learn.
        samples: "train", "val" and, if there is one, "test".
        labels: names by id.
        seed: for all random generators.
        has_backpack: without it only the task's own head is trained and votes (fine-tuning).
        checkpoint: file of the last saved state.
        progress: shows a progress bar.

    Raises:
        BackpackInvalid: the bundle has no backpack.
    """
    name, backbone = _choose_backbone(predictor, has_backpack=has_backpack)
    spec, fit_config = task.spec, task.fit_for(len(samples["train"]))
    output = spec.outputs[0]
    learner = train_skill(
        backbone,
        spec,
        samples["train"],
        {output: len(labels)},
        FitJob(fit_config, seed, checkpoint, progress=progress),
        perspectives=None if has_backpack else (),
    )
    learner.eval()
    logits, truth = collect_logits(
        {spec.name: learner}, {spec.name: samples["val"]}, predictor.config
    )
    calibration = calibrate(logits, truth)[f"{spec.name}.{output}"]
    held_out = {split: s for split, s in samples.items() if split != "train"}
    return TrainedSkill(
        learner,
        name,
        labels,
        calibration,
        metrics={
            split: score(learner, s, temperature=calibration.temperature)
            for split, s in held_out.items()
        },
        baselines={
            split: {"frequency": score_frequency(samples["train"], s)}
            for split, s in held_out.items()
        },
        training={**asdict(fit_config), "seed": seed},
        num_samples={split: len(s) for split, s in samples.items()},
    )


def score(learner: SkillOnBackbone, samples: Samples, *, temperature: float) -> Scores:
    """Returns the metrics of a task's kind on one split.

    Classification: `top1`, `class_mean` (recall averaged over classes) and `ece`; forecasts: the
    same over all future steps, and `first_top1`; localisation: `error_s`.
    """
    spec, config = samples.spec, learner.backbone.model.config
    logits, labels = collect_logits({spec.name: learner}, {spec.name: samples}, config)
    values, truth = logits[spec.name][spec.outputs[0]], labels[spec.name][spec.outputs[0]]
    if spec.readout is Readout.NODES:
        node = values[:, :, 0].argmax(dim=1).double() / spec.num_nodes
        return {"error_s": _error_s(samples, node), "samples": float(len(samples))}
    best = values.argmax(dim=2)
    probability = output_probabilities(values.flatten(0, 1), temperature)
    return {
        **_shares(best, truth),
        "ece": calibration_error(probability, truth.flatten()),
        "samples": float(len(samples)),
    }


def score_frequency(train: Samples, split: Samples) -> Scores:
    """Returns the scores of the most frequent training label, or the mean training instant."""
    spec = train.spec
    if spec.readout is Readout.NODES:
        mean = _positions(train).mean()
        return {"error_s": _error_s(split, mean.expand(len(split)))}
    seen, truth = train.labels[spec.outputs[0]], split.labels[spec.outputs[0]]
    return _shares(seen.flatten().mode().values.expand(truth.shape), truth)


def add_skill(bundle: Bundle, own: TrainedSkill) -> Bundle:
    """Returns the bundle with one more skill; its other tensors are the same objects."""
    manifest, skill = bundle.manifest, own.learner.skill
    task, output = skill.spec.name, skill.spec.outputs[0]
    entry = {
        "spec": skill.spec.to_dict(),
        "backbone": own.backbone,
        "perspectives": list(skill.perspectives),
    }
    training = dict(manifest.training)
    training["skills"] = {**training.get("skills", {}), task: own.training}
    training["samples"] = _merged(training.get("samples", {}), task, own.num_samples)
    changed = replace(
        manifest,
        skills={**manifest.skills, task: entry},
        label_spaces={**manifest.label_spaces, output: own.labels},
        calibration={**manifest.calibration, f"{task}.{output}": asdict(own.calibration)},
        training=training,
        metrics=_merged(manifest.metrics, task, own.metrics),
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


def _choose_backbone(predictor: Predictor, *, has_backpack: bool) -> tuple[str, Backbone]:
    """The backbone with most known tasks, among those with a backpack if one is needed."""
    skills = predictor.skills
    usable = [n for n in skills.models if not has_backpack or skills.backpacks[n] is not None]
    if not usable:
        raise BackpackInvalid(
            f"the bundle {predictor.name} has no backpack to learn with; --no-backpack learns "
            "without one"
        )
    name = max(usable, key=lambda n: len(skills.models[n].specs))
    return name, Backbone(skills.models[name], skills.backpacks[name])


def _shares(best: Tensor, truth: Tensor) -> Scores:
    """Accuracies of (M, m) label ids."""
    right = (best == truth).double()
    recall = class_mean(right.flatten().numpy(), truth.flatten())
    shares = {"top1": float(right.mean()), "class_mean": recall}
    return shares if truth.shape[1] == 1 else {**shares, "first_top1": float(right[:, 0].mean())}


def _positions(samples: Samples) -> Tensor:
    """Where in its segment each instant lies, (M,) in [0, 1)."""
    assert samples.pnr_frame is not None
    start, end = samples.segments[:, 0].double().unbind(-1)
    return (samples.pnr_frame - start) / (end - start)


def _error_s(samples: Samples, position: Tensor) -> float:
    """Mean distance in seconds of predicted positions, (M,) in [0, 1), from the truth."""
    assert samples.seconds is not None
    length_s = samples.seconds[:, 1] - samples.seconds[:, 0]
    return float(((position - _positions(samples)).abs() * length_s).mean())


def _merged(
    rows: Mapping[str, Mapping[str, object]], task: str, added: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """Adds one task's entry under each key."""
    return {
        key: {**rows.get(key, {}), **({task: added[key]} if key in added else {})}
        for key in {**rows, **added}
    }


def _card_section(own: TrainedSkill) -> str:
    skill, c = own.learner.skill, own.calibration
    task = skill.spec.name
    how = (
        f"with the backpack of {', '.join(skill.perspectives)}"
        if skill.perspectives
        else "without a backpack"
    )
    counts = ", ".join(f"{count} {split}" for split, count in own.num_samples.items())
    tables = [
        format_table(
            split, {k: {task: v} for k, v in {"model": found, **own.baselines[split]}.items()}
        )
        for split, found in own.metrics.items()
    ]
    about = f"""## Skill `{task}`, added later

Learnt on the frozen backbone `{own.backbone}` {how} (seed {own.training["seed"]}; samples: \
{counts}). Labels: {", ".join(own.labels)}. Temperature {c.temperature:.2f}, fitted on val; \
calibration error there {c.ece_before:.3f} before and {c.ece_after:.3f} after, \
which is optimistic, as is the `ece` of val."""
    return "\n\n".join([about, *tables]) + "\n"
