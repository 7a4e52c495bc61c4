"""Temperature calibration: one temperature per output, fitted on validation logits.

A sum of four logits is over-confident; dividing it by a temperature changes no decision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import ModelConfig
from model.data.samples import Samples
from model.evaluate.metrics import calibration_error
from model.tasks import IGNORE

EVALUATION_BATCH = 64
"""Samples of a batch in evaluation."""

TaskModel = Callable[[Tensor], dict[str, Tensor]]
"""Answers one task: observed nodes (G, n, S, D_in) -> output -> logits (G, m, Y)."""


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature and the expected calibration error before and after it."""

    temperature: float
    ece_before: float
    ece_after: float


def fit_temperature(logits: Tensor, labels: Tensor) -> Calibration:
    """Returns the temperature that minimises the negative log-likelihood.

    Args:
        logits: (M, Y) summed logits on validation.
        labels: (M,) label ids.
    """
    logits = logits.double()
    grid = torch.logspace(-1.0, 1.3, 231, dtype=torch.float64)  # 0.1 to 20, 2 % apart
    losses = torch.stack([F.cross_entropy(logits / t, labels) for t in grid])
    temperature = float(grid[losses.argmin()])
    return Calibration(
        temperature=temperature,
        ece_before=calibration_error(logits.softmax(dim=1), labels),
        ece_after=calibration_error((logits / temperature).softmax(dim=1), labels),
    )


def competing(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rows that one temperature is fitted on: logits (R, Y) and labels (R,).

    Args:
        logits: (M, m, Y); with one label the m nodes compete, and a row is a sample.
        labels: (M, m) class ids, or one-hot over competing nodes; IGNORE rows are left out.
    """
    if logits.shape[-1] == 1:
        is_known = (labels != IGNORE).all(dim=1)
        return logits[is_known].squeeze(-1), labels[is_known].argmax(dim=1)
    is_known = labels != IGNORE
    return logits[is_known], labels[is_known]


@torch.inference_mode()
def collect_logits(
    models: Mapping[str, TaskModel], samples: Mapping[str, Samples], config: ModelConfig
) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]:
    """Evaluates all samples of the tasks that have a model.

    Returns:
        logits (M, n, Y) and labels (M, n), both task -> output.
    """
    logits: dict[str, dict[str, Tensor]] = {}
    labels: dict[str, dict[str, Tensor]] = {}
    for task, model in models.items():
        split = samples[task]
        found: dict[str, list[Tensor]] = {}
        truth: dict[str, list[Tensor]] = {}
        for which in torch.arange(len(split)).split(EVALUATION_BATCH):
            batch = split.draw(which, config)
            for name, values in model(batch.inputs).items():
                found.setdefault(name, []).append(values)
                truth.setdefault(name, []).append(batch.labels[name])
        logits[task] = {name: torch.cat(parts) for name, parts in found.items()}
        labels[task] = {name: torch.cat(parts) for name, parts in truth.items()}
    return logits, labels


def calibrate(
    logits: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Calibration]:
    """Fits one temperature per output on validation logits, "task.output" -> calibration."""
    fitted = {}
    for task, outputs in logits.items():
        for name, values in outputs.items():
            fitted[f"{task}.{name}"] = fit_temperature(*competing(values, labels[task][name]))
    return fitted
