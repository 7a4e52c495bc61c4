"""Confusion counts and scores per class, from true and decided classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""(Y, Y): row = true class, column = decided class."""

Row = dict[str, str | int | float | None]
"""One line of a table; None is an empty cell."""

REST = "(rest)"


def confusion(truth: NDArray[np.int64], decided: NDArray[np.int64], num_labels: int) -> Counts:
    """Returns the confusion counts, (Y, Y)."""
    flat = np.bincount(truth * num_labels + decided, minlength=num_labels**2)
    return flat.reshape(num_labels, num_labels)


def class_rows(counts: Counts, names: Sequence[str]) -> list[Row]:
    """Returns one line per class: support, precision, recall and F1.

    Precision is empty for a class never decided, recall for one never true, F1 if both hold.
    """
    right, support, decided = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "id": i,
            "label": name,
            "support": int(support[i]),
            "decided": int(decided[i]),
            "precision": _share(right[i], decided[i]),
            "recall": _share(right[i], support[i]),
            "f1": _share(2 * right[i], support[i] + decided[i]),
        }
        for i, name in enumerate(names)
    ]


def confused_pairs(counts: Counts, names: Sequence[str], *, top: int = 50) -> list[Row]:
    """Returns the most frequent mistakes, most frequent first, ties by class id."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:top]
    return [
        {
            "truth": names[i],
            "decided": names[j],
            "count": int(wrong[i, j]),
            "share_of_truth": _share(wrong[i, j], counts[i].sum()),
        }
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]


def largest(counts: Counts, names: Sequence[str], *, top: int = 20) -> tuple[Counts, list[str]]:
    """Returns the counts of the largest classes and the others as one, the rest (Fig. 6).

    Classes are ordered by support, ties by id; one that is never true is in the rest, which is
    left out if empty.
    """
    support = counts.sum(axis=1)
    order = np.argsort(-support, kind="stable")
    kept = [int(i) for i in order[:top] if support[i]]
    group = np.full(len(counts), len(kept))
    group[kept] = np.arange(len(kept))
    small = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    np.add.at(small, (group[:, None], group[None, :]), counts)
    labels = [names[i] for i in kept]
    if small[-1].any() or small[:, -1].any():
        return small, [*labels, REST]
    return small[:-1, :-1], labels


def matrix_rows(counts: Counts, names: Sequence[str]) -> list[Row]:
    """Returns a matrix as lines: the true class, then one column per decided class."""
    return [
        {"true \\ decided": name, **dict(zip(names, map(int, line), strict=True))}
        for name, line in zip(names, counts, strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
