"""A table of segments is sorted, checked once, and names the rows that are wrong."""

import numpy as np
import pytest

from model.data.tables.table import SegmentTable
from model.errors import AnnotationInvalid
from tests.model.support.tables import table_of

NFD = "Ku\u0308che 1"


def test_rows_are_by_video_and_start_and_know_their_lines():
    table = table_of(("b", 5, 6, "cut"), ("b", 1, 2, "wash"), ("a", 7, 9, "cut"))
    assert table.video == ("a", "b", "b")
    assert table.videos == ("a", "b")
    assert table.start_s.tolist() == [7, 1, 5]
    assert table.end_s.tolist() == [9, 2, 6]
    assert table.labels == {"verb": ("cut", "wash", "cut")}
    assert [table.where(row) for row in range(3)] == [f"labels.csv, line {n}" for n in (4, 3, 2)]
    assert table.names("verb") == ["cut", "wash"]
    assert repr(table) == "SegmentTable(3 rows, 2 videos, labels: verb 2)"


def test_a_video_is_one_however_its_umlauts_are_stored():
    table = table_of((NFD, 1, 2, "cut"), ("Küche 1", 3, 4, "cut"), split={NFD: "train"})
    assert table.videos == ("Küche 1",)
    assert table.split == {"Küche 1": "train"}


def test_taken_rows_keep_the_splits_of_their_videos_alone():
    rows = [("a", 1, 2, "cut", None), ("b", 1, 2, None, "pan"), ("b", 2, 3, "wash", "pan")]
    table = table_of(*rows, outputs=("verb", "noun"), split={"a": "train", "b": "val", "c": "val"})
    assert table.split == {"a": "train", "b": "val"}
    assert table.rows_in("val") == [1, 2]
    taken = table.take([2])
    assert (taken.video, taken.split) == (("b",), {"b": "val"})
    assert taken.labels == {"verb": ("wash",), "noun": ("pan",)}
    with pytest.raises(AnnotationInvalid, match="no row has a label of verb"):
        table.take([1])
    with pytest.raises(ValueError, match="has no splits"):
        table_of(*rows, outputs=("verb", "noun")).rows_in("train")


@pytest.mark.parametrize(
    "stretch", [(2, 1), (1, 1), (-1, 2), (np.nan, 2), (1, np.nan), (1, np.inf)]
)
def test_a_segment_is_a_stretch_of_time_and_every_one_that_is_not_is_named(stretch):
    with pytest.raises(AnnotationInvalid) as error:
        table_of(("a", 1, 2, "cut"), ("a", *stretch, "cut"), ("b", *stretch, "cut"))
    assert "labels.csv, line 3: " in str(error.value)
    assert "labels.csv, line 4: " in str(error.value)
    assert "line 2:" not in str(error.value)


def test_a_table_has_rows_outputs_and_labels():
    with pytest.raises(AnnotationInvalid, match=r"labels\.csv: no row has a segment"):
        table_of()
    with pytest.raises(AnnotationInvalid, match="no column has labels"):
        table_of(("a", 1, 2), outputs=())
    with pytest.raises(AnnotationInvalid, match="no row has a label of noun"):
        table_of(("a", 1, 2, "cut", None), outputs=("verb", "noun"))
    with pytest.raises(AnnotationInvalid, match="video b: expected one, got None"):
        table_of(("a", 1, 2, "cut"), ("b", 1, 2, "cut"), split={"a": "train"})
    with pytest.raises(ValueError, match="expected 1 values in every column"):
        SegmentTable("x", ("a",), np.ones(2), np.ones(2), {}, ("f",), (1,))
    with pytest.raises(ValueError, match="expected rows by video and start"):
        SegmentTable("x", ("b", "a"), np.zeros(2), np.ones(2), {}, ("f", "f"), (1, 2))


def test_rows_beyond_the_end_of_their_video_are_named():
    table = table_of(("a", 1, 2.04, "cut"), ("a", 1, 3, "cut"), ("b", 1, 9, "cut"))
    table.check_ends({"b": 9.0})
    with pytest.raises(AnnotationInvalid) as error:
        table.check_ends({"a": 2.0})
    assert "line 3: ends at 3 s; a ends at 2.000 s" in str(error.value)
    assert "line 2" not in str(error.value)


def test_outputs_can_be_chosen_and_rows_without_their_labels_go():
    rows = [("a", 1, 2, "cut", "pan"), ("b", 1, 2, None, "pan"), ("c", 2, 3, "cut", None)]
    table = table_of(*rows, outputs=("verb", "noun"), split=dict.fromkeys("abc", "train"))
    verbs = table.only(["verb"])
    assert (verbs.labels, verbs.video) == ({"verb": ("cut", "cut")}, ("a", "c"))
    assert verbs.split == {"a": "train", "c": "train"}
    assert table.only(["noun", "verb"]).outputs == ("noun", "verb")
    with pytest.raises(AnnotationInvalid, match="no column 'tool'. It has labels of verb, noun"):
        table.only(["tool"])
