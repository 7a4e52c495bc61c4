"""The metrics of the four tasks, as Ego4D's evaluators compute them, averaged per sample."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def top1(logits: Tensor, labels: Tensor) -> float:
    """Returns the share of rows whose best label is right: logits (M, Y), labels (M,)."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def keyframe_error_s(
    node: NDArray[np.float64],
    *,
    num_nodes: int,
    start_frame: NDArray[np.float64],
    end_frame: NDArray[np.float64],
    pnr_frame: NDArray[np.float64],
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the localisation error of every segment, (M,), in seconds.

    Ego4D's rule: the left edge of the chosen node, and fps = (end - start + 1) / seconds, which
    is slightly above the true rate.

    Args:
        node: (M,) chosen node of each segment.
        num_nodes: nodes a segment is cut into (16).
        start_frame: (M,) first frame of the segment.
        end_frame: (M,) last frame of the segment.
        pnr_frame: (M,) annotated keyframe, on the same count.
        start_s: (M,) segment start.
        end_s: (M,) segment end.
    """
    length = end_frame - start_frame
    fps = (length + 1) / (end_s - start_s)
    predicted = node * length / num_nodes
    return np.abs(predicted - (pnr_frame - start_frame)) / fps


def levenshtein(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Returns the plain edit distance: insertions, deletions, substitutions, no transpositions."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def edit_distance(hypotheses: Sequence[Sequence[Hashable]], truth: Sequence[Hashable]) -> float:
    """Returns the best hypothesis' edit distance over the length: ED@Z for one sample."""
    return min(levenshtein(h, truth) for h in hypotheses) / len(truth)


def area_under_edit_distance(
    hypotheses: Sequence[Sequence[Hashable]], truth: Sequence[Hashable]
) -> float:
    """Returns the area under ED@z for z = 1..Z by the trapezoid rule over Z - 1 (AUED)."""
    lengths = range(1, len(truth) + 1)
    curve = [edit_distance([h[:z] for h in hypotheses], truth[:z]) for z in lengths]
    return float(np.trapezoid(curve) / (len(truth) - 1))


def anticipation_errors(
    verb: Tensor, noun: Tensor, truth_verb: Tensor, truth_noun: Tensor
) -> dict[str, NDArray[np.float64]]:
    """Returns per-sample edit distances of verbs, nouns and actions, each (M,), and their AUED.

    An action is the (verb, noun) pair as one symbol; hypothesis k pairs the k-th verb and noun
    sequences.

    Args:
        verb: (M, K, Z) sampled verb ids.
        noun: (M, K, Z) sampled noun ids.
        truth_verb: (M, Z).
        truth_noun: (M, Z).
    """
    width = int(max(noun.max(), truth_noun.max())) + 1
    sequences = {
        "verb": (verb, truth_verb),
        "noun": (noun, truth_noun),
        "action": (verb * width + noun, truth_verb * width + truth_noun),
    }
    errors = {}
    for name, (sampled, truth) in sequences.items():
        pairs = list(zip(sampled.tolist(), truth.tolist(), strict=True))
        errors[f"{name}_ed"] = np.array([edit_distance(h, t) for h, t in pairs])
        errors[f"{name}_aued"] = np.array([area_under_edit_distance(h, t) for h, t in pairs])
    return errors


def calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    """Returns the expected calibration error of the best label, in [0, 1].

    Args:
        probabilities: (M, Y).
        labels: (M,).
        num_bins: equal-width bins of confidence.
    """
    confidence, best = probabilities.max(dim=1)
    right = (best == labels).double()
    place = (confidence * num_bins).long().clamp(max=num_bins - 1)
    gap = torch.zeros(num_bins, dtype=torch.float64)
    gap.index_add_(0, place, right - confidence.double())
    return float(gap.abs().sum() / len(labels))
