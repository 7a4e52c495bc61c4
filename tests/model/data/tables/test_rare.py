"""Labels with too few training rows: all named at once, merged into one, or left out."""

import pytest

from model.data.tables.rare import OTHER, rare_labels, treat_rare
from model.errors import AnnotationInvalid
from tests.model.support.tables import table_of

ROWS = [
    ("a", 1, 2, "cut", "pan"),
    ("a", 2, 3, "cut", "pan"),
    ("a", 3, 4, "cut", "lid"),
    ("b", 1, 2, "wash", "pan"),
    ("b", 2, 3, "cut", "lid"),
    ("b", 3, 4, "peel", None),
]


def table(*rows):
    return table_of(*rows, outputs=("verb", "noun"), split={"a": "train", "b": "val"})


def test_labels_without_training_rows_are_all_named_with_what_to_do():
    assert rare_labels(table(*ROWS)) == {"verb": {"wash": 0, "peel": 0}}
    with pytest.raises(AnnotationInvalid) as error:
        treat_rare(table(*ROWS))
    assert "verb: 'peel' (0 of 1), 'wash' (0 of 1)" in str(error.value)
    assert str(error.value).startswith("labels.csv: 2 labels have no training row (")
    assert "--rare drop" in str(error.value)
    with pytest.raises(AnnotationInvalid, match=r"noun: 'lid' \(1 of 2\)"):
        treat_rare(table(*ROWS), below=2)


def test_a_table_without_rare_labels_stays():
    same = table(*ROWS[:3], ROWS[4])
    for how, below in (("error", None), ("drop", None), ("merge", 1)):
        assert treat_rare(same, how, below=below) is same


def test_dropped_rows_go_with_all_their_labels_until_nothing_is_rare():
    assert treat_rare(table(*ROWS), "drop").labels["verb"] == ("cut",) * 4
    # Without the row of 'slice', 'lid' has one training row: too few in its turn.
    rows = [*ROWS, ("a", 4, 5, "slice", "lid"), ("b", 5, 6, "cut", "pan")]
    left = treat_rare(table(*rows), "drop", below=2)
    assert left.labels == {"verb": ("cut",) * 3, "noun": ("pan",) * 3}
    with pytest.raises(AnnotationInvalid, match="no row has a segment, after --rare drop"):
        treat_rare(table(*rows), "drop", below=9)
    with pytest.raises(AnnotationInvalid, match="no row of val is left after --rare drop below 1"):
        treat_rare(table(*ROWS[:4]), "drop")


def test_merged_labels_are_one_that_is_learnt():
    rows = [*ROWS, ("a", 4, 5, "slice", "pan")]
    merged = treat_rare(table(*rows), "merge", below=2)
    assert merged.names("verb") == ["cut", OTHER]
    assert merged.labels["verb"].count(OTHER) == 3
    assert merged.labels["noun"].count(OTHER) == 2
    assert len(merged) == len(rows)
    with pytest.raises(AnnotationInvalid, match="verb: peel, wash have no training row together"):
        treat_rare(table(*rows), "merge", below=1)
    with pytest.raises(
        AnnotationInvalid, match="below 5 training rows:\n  verb: all of its labels"
    ):
        treat_rare(table(*rows), "merge")


def test_a_threshold_is_positive_and_splits_are_needed():
    with pytest.raises(ValueError, match="expected 1 or more"):
        treat_rare(table(*ROWS), below=0)
    with pytest.raises(ValueError, match="has no splits"):
        treat_rare(table_of(("a", 1, 2, "cut")))
