"""Published figures of the paper on Ego4D v1 (Tables 1, 2, 3, 4, 6 and 7), as shares."""

from collections.abc import Mapping
from typing import Any

from model.data.task_samples import Enumeration

METRICS = {
    ("ar", "verb_top1"): "AR verb ↑",
    ("ar", "noun_top1"): "AR noun ↑",
    ("oscc", "accuracy"): "OSCC ↑",
    ("lta", "verb_ed"): "LTA verb ED ↓",
    ("lta", "noun_ed"): "LTA noun ED ↓",
    ("pnr", "error_s"): "PNR s ↓",
}
"""(task, metric) -> column, in the paper's order."""

Figures = tuple[float | None, ...]

PAPER: dict[str, Figures] = {
    "mlp": (0.2408, 0.3045, 0.7047, 0.763, 0.742, 1.76),
    "temporal": (0.2425, 0.3043, 0.7126, 0.754, 0.752, 0.61),
    "mtl": (0.2205, 0.2944, 0.7110, 0.740, 0.746, 0.62),
    "mtl-pcgrad": (0.2201, 0.2946, 0.7086, 0.737, 0.746, 0.63),
    "tt": (0.2368, 0.2828, 0.7148, 0.740, 0.756, 0.61),
    "mtl-ft": (0.2436, 0.3131, 0.7160, 0.744, 0.754, 0.62),
    "mtl-tt": (0.2230, 0.2950, 0.7096, 0.738, 0.757, 0.62),
    "egopack": (0.2510, 0.3110, 0.7183, 0.728, 0.752, 0.61),
}
"""Method -> one figure per column."""

SUBSETS: dict[tuple[str, ...], Figures] = {
    ("ar", "oscc"): (0.2398, 0.3060, 0.7081, None, None, None),
    ("ar", "lta"): (0.2223, 0.2948, None, 0.744, 0.744, None),
    ("ar", "pnr"): (0.2405, 0.3072, None, None, None, 0.63),
    ("lta", "oscc"): (None, None, 0.7071, 0.745, 0.751, None),
    ("oscc", "pnr"): (None, None, 0.7101, None, None, 0.66),
    ("lta", "pnr"): (None, None, None, 0.751, 0.752, 0.62),
    ("ar", "lta", "oscc"): (0.2205, 0.2944, 0.7110, 0.739, 0.745, None),
    ("ar", "oscc", "pnr"): (0.2382, 0.3083, 0.7103, None, None, 0.63),
    ("ar", "lta", "pnr"): (0.2224, 0.2983, None, 0.745, 0.743, 0.62),
    ("lta", "oscc", "pnr"): (None, None, 0.7106, 0.746, 0.751, 0.63),
}
"""Tasks trained together (Table 7) -> one figure per column."""


TEST: dict[str, dict[str, float]] = {
    "lta": {"verb_ed": 0.721, "noun_ed": 0.735, "action_ed": 0.925},
    "oscc": {"accuracy": 0.721},
    "pnr": {"error_s": 0.66},
}
"""EgoPack on test (Table 3): task -> metric; its OSCC uses SlowFast features."""


WINDOWS: Enumeration = "before-2023-08"
"""Enumeration of LTA windows in the paper's validation figures: one fewer in every clip."""


def comparable(figures: Figures, lta_windows: Enumeration) -> Figures:
    """Returns the figures of val, without LTA's if ours have other windows."""
    if lta_windows == WINDOWS:
        return figures
    pairs = zip(METRICS, figures, strict=True)
    return tuple(None if task == "lta" else value for (task, _), value in pairs)


def published(split: str, lta_windows: Enumeration) -> dict[str, dict[str, float]]:
    """Returns EgoPack's comparable figures on val or test, task -> metric; others have none."""
    found: dict[str, dict[str, float]] = TEST if split == "test" else {}
    if split == "val":
        figures = comparable(PAPER["egopack"], lta_windows)
        for (task, metric), value in zip(METRICS, figures, strict=True):
            if value is not None:
                found.setdefault(task, {})[metric] = value
    return found


def learnt_from_ego4d(training: Mapping[str, Any]) -> bool:
    """Whether a manifest's training data is Ego4D, so that the paper's figures are comparable."""
    return str(training.get("data", "")).lower().startswith("ego4d")


def aggregate(figures: Mapping[tuple[str, str], float]) -> float:
    """Returns Table 2's average of one method's metrics, higher is better.

    The paper's description (one minus the errors) does not give its numbers; with the seconds of
    PNR cut at one and divided by four all six of its rows come out to 0.001.
    """
    gains = [
        figures["ar", "verb_top1"],
        figures["ar", "noun_top1"],
        figures["oscc", "accuracy"],
        1 - figures["lta", "verb_ed"],
        1 - figures["lta", "noun_ed"],
        1 - min(figures["pnr", "error_s"], 1.0) / 4,
    ]
    return sum(gains) / len(gains)
