"""Confidence in a skill of few labels: accuracy on held-out labels with an interval, in words."""

import math
from dataclasses import dataclass

from torch import Tensor

from model.evaluate.calibration import fit_temperature

CROSS_VALIDATION = "cross-validation"
"""Of the training labels: stands among the splits of a manifest's metrics."""

LEVEL_Z = 1.959964
"""Of a 95 % interval."""

LEAST_FOR_TEMPERATURE = 50
"""Held-out labels from which on a temperature is fitted."""

PRIOR_TEMPERATURE = 1.0
"""Of fewer: the weights of the voters were chosen for it."""


@dataclass(frozen=True)
class Confidence:
    """What held-out labels say of a skill.

    Attributes:
        right: held-out labels that were predicted.
        held_out: labels that could be held out; 0 where none could.
        num_labels: labels in all.
        frequent: share of the most frequent class among the labels.
        head_right: held-out labels that the plain head alone predicts.
        held_out_by: `CROSS_VALIDATION` of the training labels, or the split they are in.
    """

    right: int
    held_out: int
    num_labels: int
    frequent: float
    head_right: int
    held_out_by: str = CROSS_VALIDATION

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy; it takes labels as independent."""
        return wilson(self.right, self.held_out)

    def metrics(self) -> dict[str, float]:
        """Returns the figures for a manifest; none where no label could be held out."""
        if not self.held_out:
            return {}
        low, high = self.interval
        return {
            "top1": self.right / self.held_out,
            "top1_low": low,
            "top1_high": high,
            "head_top1": self.head_right / self.held_out,
            "samples": float(self.held_out),
        }

    def words(self) -> str:
        """Returns a sentence or two, without a final line break."""
        if not self.held_out:
            return (
                f"{self.num_labels} labels, at most one of a class where one is held out: too "
                "few to say how often it is right. Label at least two segments of each class, "
                "from different videos, and learn again."
            )
        low, high = self.interval
        is_split = self.held_out_by != CROSS_VALIDATION
        how = f"Held out as {self.held_out_by}" if is_split else "Cross-validated"
        found = (
            f"{how}: {self.right} of {self.held_out} held-out labels are predicted, "
            f"{self.right / self.held_out:.3f} [{low:.3f}, {high:.3f}], {self.head_right} by the "
            f"plain head alone; always saying the most frequent label would be right in "
            f"{self.frequent:.3f}. "
        )
        if low > self.frequent:
            return found + "It has learnt something."
        if high < self.frequent:
            return found + "It is worse than that: the labels do not follow from the features."
        return found + "Too few labels to say whether it has learnt anything: label more."


@dataclass(frozen=True)
class Temperature:
    """What the fused log-probabilities are divided by.

    Attributes:
        value: fitted, or the prior.
        ece: expected calibration error before and after on the held-out labels it was fitted on;
            None for the prior.
    """

    value: float
    ece: tuple[float, float] | None

    def entry(self) -> dict[str, float]:
        """Returns the entry of the manifest."""
        if self.ece is None:
            return {"temperature": self.value}
        before, after = self.ece
        return {"temperature": self.value, "ece_before": before, "ece_after": after}


def wilson(right: float, count: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share; all of [0, 1] where nothing was counted.

    `right` of `count` need not be whole: it may be a mean over repeats.
    """
    if not count:
        return 0.0, 1.0
    share, z2 = right / count, LEVEL_Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = LEVEL_Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    reach /= 1 + z2 / count
    return max(0.0, middle - reach), min(1.0, middle + reach)


def judge(
    held_out: tuple[Tensor, Tensor] | None, head: Tensor | None, labels: Tensor
) -> Confidence:
    """Returns the confidence.

    Args:
        held_out: fused log-probabilities (R, Y) of held-out rows and their labels (R,), or None.
        head: (R, Y) of the plain head, or None.
        labels: (M,) all labels.
    """
    frequent = float(labels.bincount().max()) / len(labels)
    if held_out is None or head is None:
        return Confidence(0, 0, len(labels), frequent, 0)
    logits, truth = held_out
    right, head_right = (int((said.argmax(dim=1) == truth).sum()) for said in (logits, head))
    return Confidence(right, len(truth), len(labels), frequent, head_right)


def choose_temperature(held_out: tuple[Tensor, Tensor] | None) -> Temperature:
    """Returns a temperature fitted on held-out rows, or the prior where they are too few."""
    if held_out is None or len(held_out[1]) < LEAST_FOR_TEMPERATURE:
        return Temperature(PRIOR_TEMPERATURE, None)
    fitted = fit_temperature(*held_out)
    return Temperature(fitted.temperature, (fitted.ece_before, fitted.ece_after))
