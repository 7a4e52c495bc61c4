"""Rows that repeat or contradict others are found as by comparing every pair."""

import random

import pytest

from model.data.tables.overlaps import check_overlaps, check_repeated
from model.errors import AnnotationInvalid
from model.nodes import TOLERANCE_S
from tests.model.support.tables import table_of


def contradict(one, other):
    """Rows are (video, start, end, label)."""
    shared = min(one[2], other[2]) - max(one[1], other[1])
    return one[0] == other[0] and one[3] != other[3] and shared > TOLERANCE_S


@pytest.mark.parametrize("seed", range(20))
def test_contradictions_are_those_of_some_pair(seed):
    rng = random.Random(seed)
    rows = []
    for _ in range(8):
        start_s = rng.uniform(0, 40)
        rows.append((rng.choice("ab"), start_s, start_s + rng.uniform(1, 6), rng.choice("xy")))
    rows.sort()
    later = [n for n, row in enumerate(rows) if any(contradict(row, o) for o in rows[:n])]
    if not later:
        check_overlaps(table_of(*rows))
        return
    with pytest.raises(AnnotationInvalid) as error:
        check_overlaps(table_of(*rows))
    said = str(error.value)
    assert [n for n in range(8) if f"labels.csv, line {n + 2}: verb" in said] == later


def test_unlabelled_rows_contradict_nobody_and_bounds_may_cross_a_little():
    rows = [("a", 0, 2.04, "x", None), ("a", 2, 4, "y", "z"), ("a", 1, 5, None, "z")]
    check_overlaps(table_of(*rows, ("b", 0, 9, "y", "z"), outputs=("verb", "noun")))


def test_all_repeated_rows_are_named():
    rows = [("a", 0, 2, "x"), ("b", 0, 2, "x"), ("a", 0, 2, "y"), ("a", 0, 2, "x")]
    check_repeated(table_of(*rows[:3]))
    with pytest.raises(AnnotationInvalid, match=r"line 5: repeats labels\.csv, line 2"):
        check_repeated(table_of(*rows))
