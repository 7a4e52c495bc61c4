"""Checks of tables that people made themselves: rows twice, rows that contradict each other."""

from typing import Literal

from model.data.tables.problems import Problems
from model.data.tables.table import SegmentTable
from model.nodes import TOLERANCE_S

Overlaps = Literal["refuse", "allow"]
"""What becomes of rows that overlap with different labels of one output."""


def check_repeated(table: SegmentTable) -> None:
    """Refuses rows that say the same as another.

    Raises:
        AnnotationInvalid: there are such rows; names them all.
    """
    again = Problems(f"{table.source}, rows that are there twice", "Delete one of each.")
    first: dict[tuple[object, ...], int] = {}
    columns = (table.video, table.start_s.tolist(), table.end_s.tolist(), *table.labels.values())
    for row, values in enumerate(zip(*columns, strict=True)):
        if (other := first.setdefault(values, row)) != row:
            again.add(f"{table.where(row)}: repeats {table.where(other)}")
    again.check()


def check_overlaps(table: SegmentTable) -> None:
    """Refuses rows that overlap with different labels of one output.

    Bounds may cross by the tolerance of a segment.

    Raises:
        AnnotationInvalid: there are such rows; names each with one that it overlaps.
    """
    crossing = Problems(
        f"{table.source}, rows that overlap with different labels",
        "Correct the times; if both happen at once, --overlaps allow.",
    )
    starts, ends = table.start_s.tolist(), table.end_s.tolist()
    for output, labels in table.labels.items():
        # The row of each label that lasts longest, of those that have not ended.
        open_rows: dict[str, int] = {}
        video = ""
        for row, label in enumerate(labels):
            if table.video[row] != video:
                video, open_rows = table.video[row], {}
            if label is None:
                continue
            limit = starts[row] + TOLERANCE_S
            open_rows = {name: r for name, r in open_rows.items() if ends[r] > limit}
            for name, other in open_rows.items():
                if name != label:
                    crossing.add(
                        f"{table.where(row)}: {output} {label!r} from {starts[row]:g} s, but "
                        f"{name!r} of {table.where(other)} lasts until {ends[other]:g} s"
                    )
                    break
            if label not in open_rows or ends[open_rows[label]] < ends[row]:
                open_rows[label] = row
    crossing.check()
