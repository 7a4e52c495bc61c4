"""The metrics of the four tasks, as Ego4D's evaluators compute them, averaged per sample.

Values are NaN for samples without a label; means leave those out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KeyframeRate = Literal["segment", "30"]
"""Frame rate that turns a localisation error into seconds."""

Values = NDArray[np.float64]
"""One value per sample, (M,); their mean is the metric."""


def hits(logits: Tensor, labels: Tensor, *, k: int = 1) -> Values:
    """Returns top-k accuracy per row, 0 or 1, (M,): logits (M, Y), labels (M,)."""
    best = logits.topk(k, dim=1).indices if k > 1 else logits.argmax(dim=1, keepdim=True)
    return (best == labels.unsqueeze(1)).any(dim=1).double().numpy()


def mean(values: Values) -> float:
    """Returns the mean of the values that are not NaN, at least one."""
    return float(values[~np.isnan(values)].mean())


def means(metrics: Mapping[str, Values]) -> dict[str, float]:
    """Returns the mean of every metric that has a value."""
    return {name: mean(values) for name, values in metrics.items() if not np.isnan(values).all()}


def class_mean(values: Values, labels: Tensor) -> float:
    """Returns the mean of the means per class, over the classes in labels, (M,)."""
    _, member = np.unique(labels.numpy(), return_inverse=True)
    return float((np.bincount(member, weights=values) / np.bincount(member)).mean())


def batch_mean(values: Values, batch_size: int) -> float:
    """Returns the mean of batch means, as Ego4D's validation scripts log their metrics.

    It differs from the mean over samples when the last batch is smaller than the others.
    """
    values = values[~np.isnan(values)]
    batches = np.split(values, range(batch_size, len(values), batch_size))
    return float(np.mean([batch.mean() for batch in batches]))


def keyframe_error_s(
    node: Values,
    *,
    num_nodes: int,
    start_frame: Values,
    end_frame: Values,
    pnr_frame: Values,
    start_s: Values,
    end_s: Values,
    rate: KeyframeRate = "segment",
) -> Values:
    """Returns the localisation error of every segment, (M,), in seconds.

    Ego4D's rule: the left edge of the chosen node, and fps = (end - start + 1) / seconds, which
    is slightly above the true rate. The authors' code divides by 30 ("30").

    Args:
        node: (M,) chosen node of each segment.
        num_nodes: nodes a segment is cut into (16).
        start_frame: (M,) first frame of the segment.
        end_frame: (M,) last frame of the segment.
        pnr_frame: (M,) annotated keyframe, on the same count.
        start_s: (M,) segment start.
        end_s: (M,) segment end.
        rate: "segment" for Ego4D's rule, "30" for the authors'.
    """
    length = end_frame - start_frame
    fps = (length + 1) / (end_s - start_s) if rate == "segment" else 30.0
    predicted = node * length / num_nodes
    return np.abs(predicted - (pnr_frame - start_frame)) / fps


def edit_distance_curves(sampled: Tensor, truth: Tensor) -> Values:
    """Returns ED@z of every sample for z = 1..Z, (M, Z): the best hypothesis' distance over z.

    Plain Levenshtein: insertions, deletions, substitutions; a transposition costs two. One table
    serves all prefixes: entry (z, z) is the distance between the first z symbols of both.

    Args:
        sampled: (M, K, Z) symbols of K hypotheses.
        truth: (M, Z) symbols.
    """
    guess, right = sampled.numpy(), truth.numpy()[:, None]
    length = right.shape[-1]
    ramp = np.arange(length + 1)
    row = np.broadcast_to(ramp, (*guess.shape[:2], length + 1))
    diagonal = np.empty(guess.shape, dtype=np.int64)
    for i in range(length):
        changed = row[..., :-1] + (guess[..., i, None] != right)
        fresh = np.minimum(changed, row[..., 1:] + 1)
        fresh = np.concatenate([np.full_like(fresh[..., :1], i + 1), fresh], axis=-1)
        row = np.minimum.accumulate(fresh - ramp, axis=-1) + ramp  # insertions: one a step right
        diagonal[..., i] = row[..., i + 1]
    return np.asarray(diagonal.min(axis=1) / ramp[1:])


def anticipation_errors(
    futures: Mapping[str, Tensor], truth: Mapping[str, Tensor]
) -> dict[str, Values]:
    """Returns per-sample ED@Z of every output and of their combination, (M,), and the AUED.

    An action is the tuple of all outputs as one symbol: its hypothesis k combines the k-th
    hypotheses of the outputs. AUED is the area under ED@z for z = 1..Z by the trapezoid rule over
    Z - 1. Unlabelled (negative) steps are left out of the truth and of every hypothesis, so that Z
    is the number of labelled steps; without any, a value is NaN.

    Args:
        futures: output -> (M, K, Z) sampled ids.
        truth: output -> (M, Z).
    """
    sequences = {name: (sampled, truth[name]) for name, sampled in futures.items()}
    if len(futures) > 1:
        sequences["action"] = _joined(list(sequences.values()))
    errors = {}
    for name, (sampled, right) in sequences.items():
        errors[f"{name}_ed"], errors[f"{name}_aued"] = _labelled_errors(sampled, right)
    return errors


def _labelled_errors(sampled: Tensor, truth: Tensor) -> tuple[Values, Values]:
    """ED and AUED over the labelled steps of every sample, (M,); arguments as for the curves."""
    is_known = truth >= 0
    order = (~is_known).long().argsort(dim=1, stable=True)  # labelled steps first, in their order
    steps = order.unsqueeze(1).expand_as(sampled)
    curves = edit_distance_curves(sampled.gather(2, steps), truth.gather(1, order))
    count = is_known.sum(dim=1).numpy()
    inside = np.arange(1, curves.shape[1]) < count[:, None]
    area = (inside * (curves[:, 1:] + curves[:, :-1]) / 2).sum(axis=1) / np.maximum(count - 1, 1)
    last = curves[np.arange(len(count)), count - 1]
    return np.where(count > 0, last, np.nan), np.where(count > 0, area, np.nan)


def _joined(sequences: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One symbol per tuple of several sequences; negative where one of them is unlabelled."""
    sampled, truth = sequences[0]
    for other, right in sequences[1:]:
        width = int(max(other.max(), right.max())) + 1
        sampled = sampled * width + other
        truth = torch.where((truth < 0) | (right < 0), -1, truth * width + right)
    return sampled, truth


def calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    """Returns the expected calibration error of the best label, in [0, 1].

    Args:
        probabilities: (M, Y).
        labels: (M,).
        num_bins: equal-width bins of confidence.
    """
    confidence, right, place = _binned(probabilities, labels, num_bins)
    gap = torch.zeros(num_bins, dtype=torch.float64)
    gap.index_add_(0, place, right - confidence)
    return float(gap.abs().sum() / len(labels))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Accuracy of answers per bin of confidence.

    Attributes:
        count: (bins,) answers.
        confidence: (bins,) mean probability of the best label; NaN in empty bins.
        accuracy: (bins,) share of right answers; NaN in empty bins.
    """

    count: Values
    confidence: Values
    accuracy: Values


def reliability(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> Reliability:
    """Returns the bins behind `calibration_error`; arguments are the same."""
    confidence, right, place = _binned(probabilities, labels, num_bins)
    bins = place.numpy()
    count = np.bincount(bins, minlength=num_bins).astype(np.float64)
    whole = np.where(count > 0, count, np.nan)
    return Reliability(
        count,
        np.bincount(bins, weights=confidence.numpy(), minlength=num_bins) / whole,
        np.bincount(bins, weights=right.numpy(), minlength=num_bins) / whole,
    )


def _binned(probabilities: Tensor, labels: Tensor, num_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence, hit and bin of every row."""
    confidence, best = probabilities.max(dim=1)
    place = (confidence * num_bins).long().clamp(max=num_bins - 1)
    return confidence.double(), (best == labels).double(), place
