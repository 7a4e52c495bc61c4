"""Answers of the skills to all samples of a split, collected in one pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.evaluate.calibration import EVALUATION_BATCH
from model.nn.skill import Votes
from model.nn.skill_set import SkillSet

FUSED = "fused"
"""Name of the fused decision."""


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """Answers of one skill to all samples of its task.

    Attributes:
        logits: output -> fused logits, (M, m, Y).
        labels: output -> (M, m).
        decisions: output -> vote -> (M, m) class ids, or (M, 1) chosen nodes; "fused" is one.
        rows: perspective -> (M, n, k) prototypes retrieved for the nodes of each sample.
    """

    logits: dict[str, Tensor]
    labels: dict[str, Tensor]
    decisions: dict[str, dict[str, Tensor]]
    rows: dict[str, Tensor]


@torch.inference_mode()
def answer_split(
    skills: SkillSet,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> dict[str, TaskAnswers]:
    """Returns every skill's answers, on the CPU.

    Only the decisions of the votes are kept: the logits of LTA's votes would take a gigabyte on
    Ego4D.

    Args:
        skills: on `device`.
        samples: task -> samples.
        config: of the model.
        device: of the skills.
        progress: called with the number of samples of each batch.
    """
    answers = {}
    for task, split in samples.items():
        parts = []
        for which in torch.arange(len(split)).split(EVALUATION_BATCH):
            batch = split.draw(which, config)
            votes = skills({task: batch.inputs.to(device)})[task]
            fused = {name: logits.cpu() for name, logits in votes.fused().items()}
            rows = {view: found.cpu() for view, found in votes.rows.items()}
            parts.append(TaskAnswers(fused, batch.labels, _decisions(votes, fused), rows))
            if progress:
                progress(len(which))
        answers[task] = _joined_answers(parts)
    return answers


def _joined_answers(parts: Sequence[TaskAnswers]) -> TaskAnswers:
    return TaskAnswers(
        logits=_joined([p.logits for p in parts]),
        labels=_joined([p.labels for p in parts]),
        decisions={
            name: _joined([p.decisions[name] for p in parts]) for name in parts[0].decisions
        },
        rows=_joined([p.rows for p in parts]),
    )


def decide(logits: Tensor) -> Tensor:
    """Returns the best class of every node, (M, m), or the best node, (M, 1), of (M, m, Y)."""
    if logits.shape[-1] == 1:
        return logits.argmax(dim=1)
    return logits.argmax(dim=-1)


def _decisions(votes: Votes, fused: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    return {
        name: {
            **{who: decide(logits.cpu()) for who, logits in by.items()},
            FUSED: decide(fused[name]),
        }
        for name, by in votes.logits.items()
    }


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
