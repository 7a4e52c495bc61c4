import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.tables.label_file import LabelRow, read_labels
from model.data.tables.label_rows import (
    MOST_ERRORS,
    check_labels,
    rows_from_csv,
    rows_from_json,
    rows_to_json,
    with_splits,
)
from model.errors import AnnotationInvalid, LabelsInvalid

GOOD = {"video": "v", "start_s": 0, "end_s": 1.5, "label": "a"}
HEADER = "video,start_s,end_s,label\n"


def places(call):
    with pytest.raises(LabelsInvalid) as caught:
        call()
    return dict(caught.value.errors)


NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1
)
ROWS = st.lists(
    st.tuples(
        NAMES.filter(str.strip).map(str.strip),
        st.floats(0, 1e5),
        st.floats(1e-3, 1e5),
        NAMES.filter(str.strip).map(str.strip),
        st.sampled_from(["train", "val", "test"]),
    ),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_json_and_csv_say_the_same(values):
    rows = [(v, s, s + length, label, split) for v, s, length, label, split in values]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("video", "start_s", "end_s", "label", "split"), *rows])
    by_csv = rows_from_csv(text.getvalue())
    by_json = rows_from_json(rows_to_json(by_csv))
    assert [(r.video, r.start_s, r.end_s, r.label, r.split) for r in by_json] == rows
    assert rows_to_json(by_json) == rows_to_json(by_csv)
    assert [r.line for r in by_json] == list(range(len(rows)))


def test_a_text_is_read_as_its_file_is(tmp_path):
    path = tmp_path / "labels.csv"
    text = "\ufeff" + HEADER + 'v,0,1,"cut, then\npeel"\nw,1,2,<b>&\n'
    path.write_text(text, encoding="utf-8", newline="")
    assert rows_from_csv(text) == read_labels(path, localises=False)


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"start_s": "0"}, "/labels/1/start_s", "a number of seconds, got '0'"),
        ({"start_s": True}, "/labels/1/start_s", "a number of seconds"),
        ({"end_s": 0}, "/labels/1/end_s", "more than start_s (0)"),
        ({"end_s": float("inf")}, "/labels/1/end_s", "seconds from the video's start"),
        ({"start_s": 10**400}, "/labels/1/start_s", "seconds"),
        ({"start_s": -1}, "/labels/1/start_s", "0 or more, got '-1'"),
        ({"label": ""}, "/labels/1/label", "one of a, b"),
        ({"label": "c"}, "/labels/1/label", "one of a, b, got 'c'"),
        ({"label": None}, "/labels/1/label", "text, got None"),
        ({"video": "../v"}, "/labels/1/video", "without its folder"),
        ({"split": "all"}, "/labels/1/split", "train, val, test"),
        ({"split": 3}, "/labels/1/split", "train, val, test"),
        ({"colour": "red"}, "/labels/1/colour", "no such field"),
    ],
)
def test_a_wrong_value_is_named_by_pointer(change, pointer, words):
    found = places(lambda: rows_from_json([GOOD, GOOD | change], labels=("a", "b")))
    assert list(found) == [pointer]
    assert words in found[pointer]


def test_every_wrong_row_is_named_up_to_a_limit():
    assert list(places(lambda: rows_from_json([GOOD, 3, {}]))) == ["/labels/1", "/labels/2/video"]
    assert len(places(lambda: rows_from_json([3] * 50))) == MOST_ERRORS


@pytest.mark.parametrize("wrong", [{}, [], None, "v,0,1,a"])
def test_labels_are_a_list(wrong):
    assert list(places(lambda: rows_from_json(wrong))) == ["/labels"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["line 1"]),
        ("video,start_s,end_s\nv,0,1\n", ["line 1"]),
        (HEADER, ["line 2"]),
        (HEADER + "v,0,1,a\nv,x,1,a\nv,2,1,a\n", ["line 3", "line 4"]),
        (HEADER + 'v,0,1,"a\n', ["line 2"]),
        (HEADER + "v,0,1,a,b\n", ["line 2"]),
    ],
)
def test_wrong_lines_of_a_text_are_named(text, expected):
    assert list(places(lambda: rows_from_csv(text))) == expected


def test_rows_are_held_to_their_videos():
    rows = [LabelRow(i, v, s, s + 1, "ab"[i % 2], None, "") for i, (v, s) in enumerate(
        [("v", 0.0), ("v", 3.0), ("w", 0.5), ("w", 9.5)]
    )]  # fmt: skip
    spans = {"v": (0.0, 4.0), "w": (0.0, 10.5)}
    assert check_labels(rows, spans) == ["a", "b"]
    assert check_labels(rows, spans, labels=["b", "a"]) == ["b", "a"]
    assert list(places(lambda: check_labels(rows, spans | {"w": (2.0, 9.0)}))) == [
        "/labels/2/end_s",
        "/labels/3/end_s",
    ]
    short = {"v": (0.0, 4.0)}
    assert list(places(lambda: check_labels(rows, short))) == ["/labels/2/video", "/labels/3/video"]
    assert list(places(lambda: check_labels(rows, short, from_csv=True))) == ["line 2", "line 3"]
    assert list(places(lambda: check_labels(rows[:1], spans))) == ["/labels"]


def test_rows_without_a_split_are_for_training():
    rows = rows_from_json([GOOD, GOOD | {"split": "val"}, GOOD | {"split": ""}])
    assert [row.split for row in with_splits(rows)] == ["train", "val", "train"]
    with pytest.raises(AnnotationInvalid, match="no row is for train"):
        with_splits(rows[1:2])
