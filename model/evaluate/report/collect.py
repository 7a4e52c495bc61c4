"""Samples of a split -> everything the skills say of them, in one pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.nn.skill import Votes
from model.nn.skill_set import SkillSet

FUSED = "fused"
"""What all votes decide together."""

_BATCH = 64


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """What one skill says of all samples of its task.

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


def answer_split(
    skills: SkillSet,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> dict[str, TaskAnswers]:
    """Returns every skill's answers, on the CPU.

    Of the votes only the decisions are kept: all logits of LTA's votes would fill a gigabyte at
    Ego4D's size.

    Args:
        skills: on `device`.
        samples: task -> samples.
        config: of the model.
        device: where the skills are.
        progress: told how many samples were answered since it was last told.
    """
    return {
        task: _answer(skills, task, split, config, device, progress)
        for task, split in samples.items()
    }


@torch.inference_mode()
def _answer(
    skills: SkillSet,
    task: str,
    samples: Samples,
    config: ModelConfig,
    device: torch.device | str,
    progress: Callable[[int], object] | None,
) -> TaskAnswers:
    parts: list[TaskAnswers] = []
    for which in torch.arange(len(samples)).split(_BATCH):
        batch = samples.draw(which, config)
        votes = skills({task: batch.inputs.to(device)})[task]
        fused = {name: logits.cpu() for name, logits in votes.fused().items()}
        rows = {view: found.cpu() for view, found in votes.rows.items()}
        parts.append(TaskAnswers(fused, batch.labels, _decisions(votes, fused), rows))
        if progress:
            progress(len(which))
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
