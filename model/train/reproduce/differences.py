"""Differences between methods with paired confidence intervals, and which of them are real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from model.data.samples import Samples
from model.evaluate.metrics import Values
from model.evaluate.paper import METRICS
from model.evaluate.report.confusion import Row
from model.evaluate.report.intervals import LEVEL, Interval, paired_interval
from model.train.methods.trainer import LABELS, parts_of
from model.train.reproduce.jobs import Score
from model.train.reproduce.tables import Cell, Table

REFERENCES = ("mtl", "mtl-ft")
"""Methods that the others are compared with."""


@dataclass(frozen=True)
class Difference:
    """A method's figure minus a reference's, over the same samples and seeds.

    Attributes:
        split: of the samples.
        reference: method that is subtracted.
        method: that is compared.
        column: (task, metric), one of `METRICS`.
        seeds: that both were trained with.
        value: mean over samples, averaged over seeds.
        bounds: 95 % interval; None for samples of one video.
    """

    split: str
    reference: str
    method: str
    column: tuple[str, str]
    seeds: int
    value: float
    bounds: Interval | None

    @property
    def is_real(self) -> bool:
        """Whether the interval excludes 0."""
        return self.bounds is not None and not self.bounds.low <= 0 <= self.bounds.high

    @property
    def is_better(self) -> bool:
        """Whether the method's figure is the better one."""
        return (self.value > 0) == METRICS[self.column].endswith("↑")

    def __str__(self) -> str:
        if self.bounds is None:
            return f"{self.value:+.3f}"
        return f"{self.value:+.3f} [{self.bounds.low:+.3f}, {self.bounds.high:+.3f}]"

    def row(self) -> Row:
        """Returns the line of a CSV."""
        task, metric = self.column
        low, high = self.bounds or (None, None)
        return {
            "split": self.split, "reference": self.reference, "method": self.method,
            "task": task, "metric": metric, "seeds": self.seeds, "difference": self.value,
            "low": low, "high": high, "is_real": int(self.is_real),
        }  # fmt: skip


def find_differences(
    scores: Sequence[Score],
    methods: Sequence[str],
    tasks: tuple[str, ...],
    samples: Mapping[str, Mapping[str, Samples]],
) -> list[Difference]:
    """Returns every method's difference to each of `REFERENCES`, on every scored split.

    Args:
        scores: of all trainings.
        methods: to compare; references not among them are left out.
        tasks: all that were trained.
        samples: split -> task -> samples, for the video of each.
    """
    splits = [split for split in samples if split != "train"]
    references = [method for method in REFERENCES if method in methods]
    found = [
        _difference(scores, (method, reference), tasks, split, column, samples[split])
        for split, reference, method, column in product(splits, references, methods, METRICS)
        if method != reference and column[0] in tasks
    ]
    return [difference for difference in found if difference is not None]


def _difference(
    scores: Sequence[Score],
    pair: tuple[str, str],
    tasks: tuple[str, ...],
    split: str,
    column: tuple[str, str],
    samples: Mapping[str, Samples],
) -> Difference | None:
    """Returns the first method's difference to the second; None where one was not trained."""
    method, reference = pair
    ours, theirs = (_values(scores, m, tasks, split, column) for m in pair)
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return None
    gaps = np.stack([ours[seed] - theirs[seed] for seed in seeds])
    known = ~np.isnan(gaps[0])
    groups = samples[column[0]].video_offset.numpy()  # a video's first row identifies it
    bounds = paired_interval(gaps[:, known], groups[known])
    value = float(gaps[:, known].mean())
    return Difference(split, reference, method, column, len(seeds), value, bounds)


def _values(
    scores: Sequence[Score],
    method: str,
    tasks: tuple[str, ...],
    split: str,
    column: tuple[str, str],
) -> dict[int, Values]:
    """Returns seed -> (M,) values of one metric."""
    task, metric = column
    parts = parts_of(method, tasks)
    return {
        score.seed: score.values[split][task][metric]
        for score in scores
        if score.part in parts and metric in score.values.get(split, {}).get(task, {})
    }


def difference_table(found: Sequence[Difference], split: str, reference: str) -> Table:
    """Returns one row a method: differences to the reference, the real ones marked."""
    mine = [d for d in found if (d.split, d.reference) == (split, reference)]
    by_method: dict[str, dict[tuple[str, str], Difference]] = {}
    for difference in mine:
        by_method.setdefault(difference.method, {})[difference.column] = difference
    lines = [
        [
            Cell(LABELS[method]),
            *(Cell(str(d), d.is_real) if (d := of.get(c)) else Cell("–") for c in METRICS),
        ]
        for method, of in by_method.items()
    ]
    title = f"Difference to {LABELS[reference]}, {split}; bold: the interval excludes 0"
    return Table(title, ["method", *METRICS.values()], lines)


def summarise(found: Sequence[Difference], split: str) -> str:
    """Returns which differences on a split are real, EgoPack's to MTL + FT in any case."""
    mine = [d for d in found if d.split == split]
    real = [d for d in mine if d.is_real]
    fewest = min(d.seeds for d in mine)
    drawn = f"videos and {fewest} seeds" if fewest > 1 else "videos, with a single seed"
    text = (
        f"On {split}, {len(real)} of {len(mine)} differences are real: their paired 95 % interval, "
        f"over {drawn}, excludes 0 (by chance {len(mine) * (1 - LEVEL):.0f} would)."
    )
    for reference in dict.fromkeys(d.reference for d in mine):
        for word, is_better in (("Better", True), ("Worse", False)):
            some = [d for d in real if d.reference == reference and d.is_better == is_better]
            text += f" {word} than {LABELS[reference]}: {_listed(some)}."
    ours = [d for d in mine if (d.method, d.reference) == ("egopack", "mtl-ft")]
    if ours:
        each = [f"{_name(d)} {d} ({'real' if d.is_real else 'not real'})" for d in ours]
        text += f" {LABELS['egopack']} over {LABELS['mtl-ft']}: {', '.join(each)}."
    return text


def _listed(differences: Sequence[Difference]) -> str:
    by_method: dict[str, list[str]] = {}
    for d in differences:
        by_method.setdefault(LABELS[d.method], []).append(f"{_name(d)} {d.value:+.3f}")
    return "; ".join(f"{m} ({', '.join(f)})" for m, f in by_method.items()) or "none"


def _name(difference: Difference) -> str:
    return METRICS[difference.column].rstrip(" ↑↓")
