"""Report of a taught skill: what held-out labels say of it, as plain JSON values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.data.samples import Samples
from model.data.task_file import TaskFile
from model.evaluate.calibration import collect_logits
from model.nn.few_labels.skill import FewLabelSkill
from model.nn.few_labels.voters import OWN, VOTERS
from model.predict.answers import output_probabilities
from model.train.new_skill.confidence import Confidence
from model.train.new_skill.few_labels import classes_of, rows_of
from model.train.new_skill.skill import TrainedSkill
from model.train.new_skill.teaching.curve import MOST, learning_curve

STEPS = 20
"""Of the thresholds from 0 to 1."""


@dataclass(frozen=True, eq=False)
class HeldOutAnswers:
    """What a skill answers on labels that it was not learnt from.

    Attributes:
        confidence: how often it is right.
        probability: (R, Y) calibrated probabilities.
        truth: (R,) label ids.
    """

    confidence: Confidence
    probability: Tensor
    truth: Tensor


def report_of(
    own: TrainedSkill,
    task: TaskFile,
    samples: Mapping[str, Samples],
    *,
    seed: int,
    none_label: str | None = None,
) -> dict[str, Any]:
    """Returns the report of a skill of voters.

    Args:
        own: the skill.
        task: that it answers.
        samples: split -> samples that it was learnt from and is judged on.
        seed: that it was learnt with.
        none_label: the label of segments that are none of the others.
    """
    skill, answers = own.learner.skill, held_out_answers(own, samples)
    assert isinstance(skill, FewLabelSkill)
    confidence = answers.confidence
    assert own.learnt.panel is not None
    learner, panel = own.learner, own.learnt.panel
    curve = learning_curve(learner.backbone, samples["train"], panel, skill.weights, seed=seed)
    count = classes_of(samples["train"]).bincount(minlength=len(own.labels)).tolist()
    return {
        "name": task.spec.name,
        "kind": task.kind,
        "labels": own.labels,
        "count": dict(zip(own.labels, count, strict=True)),
        "method": own.learnt.training["method"],
        "seed": seed,
        "accuracy": accuracy(confidence),
        "held_out_by": confidence.held_out_by,
        "words": confidence.words(),
        "confusion": {"labels": own.labels, "counts": confusion(answers)},
        "voters": [
            {"name": name, "weight": weight, "about": VOTERS[name].about}
            for name, weight in skill.weights.items()
        ],
        "curve": [] if curve is None else curve.points(),
        "forecast": None if curve is None else curve.forecast(seed=seed),
        "thresholds": thresholds(answers),
        "none": None if none_label is None else none_of_these(answers, own.labels, none_label),
        "notes": [*own.learnt.notes, *_no_curve(len(samples["train"]))],
    }


def held_out_answers(own: TrainedSkill, samples: Mapping[str, Samples]) -> HeldOutAnswers:
    """Returns the answers on test, else on val, else on cross-validated training labels."""
    learnt = own.learnt
    assert learnt.confidence is not None
    assert learnt.panel is not None
    temperature = learnt.temperature.value
    split = next((name for name in ("test", "val") if name in samples), None)
    if split is None:
        if learnt.held_out is None:
            empty = torch.zeros(0, len(own.labels), dtype=torch.float64)
            return HeldOutAnswers(learnt.confidence, empty, torch.zeros(0, dtype=torch.long))
        logits, truth = learnt.held_out
        return HeldOutAnswers(learnt.confidence, output_probabilities(logits, temperature), truth)
    judging, spec, backbone = samples[split], own.learner.skill.spec, own.learner.backbone
    found, _ = collect_logits({spec.name: own.learner}, {spec.name: judging}, backbone.model.config)
    logits, truth = found[spec.name][spec.outputs[0]][:, 0], classes_of(judging)
    votes = learnt.panel.votes(rows_of(backbone, judging))
    head = votes[list(learnt.panel.fitted).index(OWN)]
    right, head_right = (int((said.argmax(dim=1) == truth).sum()) for said in (logits, head))
    confidence = Confidence(
        right,
        len(truth),
        len(samples["train"]),
        own.baselines[split]["frequency"]["top1"],
        head_right,
        split,
    )
    return HeldOutAnswers(confidence, output_probabilities(logits.double(), temperature), truth)


def accuracy(confidence: Confidence) -> dict[str, Any] | None:
    """Returns how often held-out labels are predicted; None where none could be held out."""
    if not confidence.held_out:
        return None
    low, high = confidence.interval
    return {
        "right": confidence.right,
        "held_out": confidence.held_out,
        "share": confidence.right / confidence.held_out,
        "low": low,
        "high": high,
        "frequent": confidence.frequent,
        "head_right": confidence.head_right,
    }


def confusion(answers: HeldOutAnswers) -> list[list[int]]:
    """Returns (Y, Y) counts of held-out labels: rows are the truth, columns what was answered."""
    size = answers.probability.shape[1]
    pairs = answers.truth * size + answers.probability.argmax(dim=1)
    counts: list[list[int]] = pairs.bincount(minlength=size * size).view(size, size).tolist()
    return counts


def thresholds(answers: HeldOutAnswers) -> list[dict[str, float | None]]:
    """Returns what is answered, and how well, where answers of lower probability are withheld.

    Of each threshold: `answered`, the share of held-out labels whose top probability reaches it;
    `precision`, the share of these that are right, None where there are none; `recall`, the share
    of all held-out labels that are answered and right. Empty without held-out labels.
    """
    if not len(answers.truth):
        return []
    top = answers.probability.max(dim=1)
    right, found = top.indices == answers.truth, []
    for threshold in (step / STEPS for step in range(STEPS + 1)):
        given = top.values >= threshold
        answered, hits = int(given.sum()), int((given & right).sum())
        found.append(
            {
                "threshold": threshold,
                "answered": answered / len(right),
                "precision": hits / answered if answered else None,
                "recall": hits / len(right),
            }
        )
    return found


def none_of_these(answers: HeldOutAnswers, labels: list[str], none_label: str) -> dict[str, Any]:
    """Returns how often a label that means none of the others is right, and how often wrong.

    `right` of `held_out` labels of it are told from the others; `mistaken` of `others` are
    answered with it.
    """
    which = labels.index(none_label)
    is_none, said = answers.truth == which, answers.probability.argmax(dim=1) == which
    return {
        "label": none_label,
        "right": int((is_none & said).sum()),
        "held_out": int(is_none.sum()),
        "mistaken": int((~is_none & said).sum()),
        "others": int((~is_none).sum()),
    }


def _no_curve(num_labels: int) -> list[str]:
    """Why there is no curve, where labels are many."""
    return [f"More than {MOST} labels: no curve is drawn."] if num_labels > MOST else []
