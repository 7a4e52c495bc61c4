import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.tables.label_file import LabelRow, assign_splits, label_names, read_labels
from model.errors import AnnotationInvalid

HEADER = ("video", "start_s", "end_s", "label")


def written(tmp_path, rows, header=HEADER, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def row(video="v", label="a", split=""):
    return LabelRow(2, video, 0.0, 1.0, label, None, split)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_keep_commas_quotes_and_other_scripts(tmp_path, encoding):
    names = ["cut, then peel", 'the "big" one', "größe", "切る"]
    path = written(tmp_path, [("v", 0, 1.5, name) for name in names], encoding=encoding)
    rows = read_labels(path, localises=False)
    assert [r.label for r in rows] == names
    assert [(r.start_s, r.end_s, r.time_s, r.split) for r in rows] == [(0.0, 1.5, None, "")] * 4
    assert [r.line for r in rows] == [2, 3, 4, 5]


def test_a_localising_file_tells_instants(tmp_path):
    path = written(tmp_path, [("v", 1, 9, 2.5)], header=(*HEADER[:3], "time_s"))
    assert read_labels(path, localises=True)[0].time_s == 2.5


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (("v", "x", "2", "a"), ["line 3", "column start_s", "'x'"]),
        (("v", "nan", "2", "a"), ["line 3", "column start_s"]),
        (("v", "-1", "2", "a"), ["line 3", "column start_s", "'-1'"]),
        (("v", "2", "2", "a"), ["line 3", "column end_s", "more than start_s (2)"]),
        (("v", "0", "", "a"), ["line 3", "column end_s"]),
        (("v", "0", "2", ""), ["line 3", "column label"]),
        (("v", "0", "2", "c"), ["line 3", "column label", "'c'", "a, b"]),
        (("../v", "0", "2", "a"), ["line 3", "column video", "'../v'"]),
        (("", "0", "2", "a"), ["line 3", "column video"]),
        (("v", "0", "2"), ["line 3", "columns"]),
        (("v", "0", "2", "a", "b"), ["line 3", "columns", "double quotes"]),
    ],
)
def test_a_wrong_row_is_named_by_line_and_column(tmp_path, bad, words):
    path = written(tmp_path, [("v", "0", "2", "b"), bad])
    with pytest.raises(AnnotationInvalid) as caught:
        read_labels(path, localises=False, labels=("a", "b"))
    assert all(word in str(caught.value) for word in ["labels.csv", *words]), caught.value


@pytest.mark.parametrize("video", ["Küche 1", "a [b], c", "-x", ".hid", 'the "big" one', "a=b"])
def test_a_video_may_have_any_name_that_a_file_may_have(tmp_path, video):
    path = written(tmp_path, [(video, 0, 1.5, "a")])
    assert read_labels(path, localises=False)[0].video == video


@pytest.mark.parametrize("time_s", ["0.9", "9", "", "soon"])
def test_an_instant_outside_its_segment_is_refused(tmp_path, time_s):
    path = written(tmp_path, [("v", 1, 9, time_s)], header=(*HEADER[:3], "time_s"))
    with pytest.raises(AnnotationInvalid, match="line 2, column time_s"):
        read_labels(path, localises=True)


@pytest.mark.parametrize(
    "header", [("video", "start_s", "end_s"), (*HEADER, "note"), (*HEADER, "label"), ()]
)
def test_a_header_that_is_not_the_expected_one_is_refused(tmp_path, header):
    path = written(tmp_path, [("v", 0, 1, "a", "b")[: len(header)]], header=header)
    with pytest.raises(AnnotationInvalid, match="line 1: expected the columns video, start_s"):
        read_labels(path, localises=False)


@pytest.mark.parametrize("split", ["", "training"])
def test_a_split_that_is_none_is_refused(tmp_path, split):
    path = written(tmp_path, [("v", 0, 1, "a", split)], header=(*HEADER, "split"))
    with pytest.raises(AnnotationInvalid, match="line 2, column split: expected one of train"):
        read_labels(path, localises=False)


def test_a_file_without_rows_or_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(AnnotationInvalid, match="no rows"):
        read_labels(written(tmp_path, []), localises=False)
    (tmp_path / "labels.csv").write_bytes(b"video,start_s,end_s,label\nv,0,1,\xff\n")
    with pytest.raises(AnnotationInvalid, match="UTF-8"):
        read_labels(tmp_path / "labels.csv", localises=False)


@given(st.integers(2, 40), st.integers(0, 9))
def test_a_fifth_of_the_videos_is_kept_for_val_and_no_video_is_in_both(count, seed):
    rows = [row(f"v{i}") for i in range(count) for _ in range(3)]
    split = assign_splits(rows, seed=seed)
    val = {r.video for r in split if r.split == "val"}
    train = {r.video for r in split if r.split == "train"}
    assert not val & train
    assert len(val) == max(1, round(count / 5))
    assert split == assign_splits(rows, seed=seed)


def test_the_files_own_splits_are_kept():
    rows = [row("a", split="val"), row("a", split="train"), row("b", split="test")]
    assert assign_splits(rows, seed=0) == rows


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [([row("a")], "train"), ([row(split="train")], "val"), ([row(split="val")], "train")],
)
def test_rows_for_training_and_validation_are_asked_for(rows, wanted):
    with pytest.raises(AnnotationInvalid, match=f"no row is for {wanted}"):
        assign_splits(rows, seed=0)


def test_a_label_space_needs_two_labels_and_training_rows_of_each():
    train = [row(label=name, split="train") for name in ("b", "a", "b")]
    assert label_names(train, None) == ["a", "b"]
    assert label_names(train, ["b", "a"]) == ["b", "a"]
    with pytest.raises(AnnotationInvalid, match="at least 2 labels"):
        label_names(train[:1], None)
    with pytest.raises(AnnotationInvalid, match="no training row has the label 'c'"):
        label_names([*train, row(label="c", split="val")], None)
