"""Rare labels: those with too few training rows to be learnt, merged, dropped or refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from model.data.tables.problems import Problems
from model.data.tables.table import SegmentTable
from model.errors import AnnotationInvalid

Rare = Literal["error", "merge", "drop"]
OTHER = "other"
"""Label that rare ones are merged into."""

BELOW: Mapping[Rare, int] = {"error": 1, "drop": 1, "merge": 5}
"""Training rows that a label needs, by default: merged labels must be learnt together."""


def treat_rare(
    table: SegmentTable, how: Rare = "error", *, below: int | None = None
) -> SegmentTable:
    """Returns the table without labels that have fewer training rows than `below`.

    With 1, these are the labels that occur in val or test only.

    Args:
        table: with splits.
        how: "error" refuses them, "merge" calls them all "other", "drop" leaves out their rows.
        below: training rows that a label needs; None takes 1, for merging 5.

    Raises:
        AnnotationInvalid: there are such labels and they are refused, or merged or dropped leave
            nothing to learn; names all of them.
        ValueError: the table has no splits, or `below` is not positive.
    """
    below = BELOW[how] if below is None else below
    if below < 1:
        raise ValueError(f"expected 1 or more training rows, got {below}")
    rare = rare_labels(table, below)
    if not rare:
        return table
    if how == "error":
        raise _refused(table, rare, below)
    return _merge(table, rare, below) if how == "merge" else _drop(table, below)


def rare_labels(table: SegmentTable, below: int = 1) -> dict[str, Counter[str]]:
    """Returns, by output, the labels with fewer training rows than `below`, and how many.

    Raises:
        ValueError: the table has no splits.
    """
    train = table.rows_in("train")
    rare = {}
    for output, values in table.labels.items():
        count = Counter(dict.fromkeys(table.names(output), 0))
        count.update(label for row in train if (label := values[row]) is not None)
        few = Counter({name: n for name, n in count.items() if n < below})
        if few:
            rare[output] = few
    return rare


def _refused(table: SegmentTable, rare: dict[str, Counter[str]], below: int) -> AnnotationInvalid:
    """The error that lists every rare label, not only the first."""
    total = sum(map(len, rare.values()))
    few_rows = "no training row" if below == 1 else f"fewer than {below} training rows"
    lines = [f"{table.source}: {total} labels have {few_rows} (training rows of all rows):"]
    for output, few in rare.items():
        rows = Counter(table.labels[output])
        named = ", ".join(f"{name!r} ({n} of {rows[name]})" for name, n in sorted(few.items()))
        lines.append(f"{output}: {named}")
    lines.append(
        f"--rare drop leaves out their rows, --rare merge calls them all {OTHER!r}; or label more "
        "videos, or split them in another way"
    )
    return AnnotationInvalid("\n  ".join(lines))


def _merge(table: SegmentTable, rare: dict[str, Counter[str]], below: int) -> SegmentTable:
    train = table.rows_in("train")
    labels = dict(table.labels)
    unlearnt = Problems(
        f"{table.source}: merged below {below} training rows",
        "--rare drop leaves rare labels out; --rare-below sets how many rows a label needs",
    )
    for output, few in rare.items():
        merged = tuple(OTHER if label in few else label for label in table.labels[output])
        if not any(merged[row] == OTHER for row in train):
            unlearnt.add(f"{output}: {', '.join(sorted(few))} have no training row together either")
        if len(few) == len(table.names(output)):
            unlearnt.add(f"{output}: all of its labels are rare, so one would be left")
        labels[output] = merged
    unlearnt.check()
    return replace(table, labels=labels)


def _drop(table: SegmentTable, below: int) -> SegmentTable:
    """Drops until nothing is rare: a dropped row may have been one of few of its other label."""
    left = table
    while rare := rare_labels(left, below):
        kept = [
            row
            for row in range(len(left))
            if not any(left.labels[output][row] in few for output, few in rare.items())
        ]
        try:
            left = left.take(kept)
        except AnnotationInvalid as error:
            raise AnnotationInvalid(f"{error}, after --rare drop below {below} rows") from error
    gone = {*(table.split or {}).values()} - {*(left.split or {}).values()}
    if gone:
        raise AnnotationInvalid(
            f"{table.source}: no row of {' and '.join(sorted(gone))} is left after --rare drop "
            f"below {below} rows"
        )
    return left
