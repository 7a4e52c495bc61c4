"""One temperature per output, fitted on validation, so that a probability means what it says.

A sum of four logits is over-confident; dividing it by a temperature changes no decision.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.evaluate.metrics import calibration_error
from model.train.methods.losses import IGNORE


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
    """Returns what one temperature is fitted on: rows of logits (R, Y) and their label (R,).

    Args:
        logits: (M, m, Y); with one label the m nodes compete, and a row is a sample.
        labels: (M, m) class ids, or one-hot over the nodes when they compete; rows of which it is
            IGNORE are left out.
    """
    if logits.shape[-1] == 1:
        is_known = (labels != IGNORE).all(dim=1)
        return logits[is_known].squeeze(-1), labels[is_known].argmax(dim=1)
    is_known = labels != IGNORE
    return logits[is_known], labels[is_known]
