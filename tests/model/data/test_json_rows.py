import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.json_rows import Row
from model.errors import AnnotationInvalid
from tests.model.support.annotation_rows import (
    ACTION,
    LTA,
    NEGATIVE,
    OSCC,
    POSITIVE,
    without,
    write,
)

NEEDED = [
    *((LTA, ACTION, name) for name in (
        "video_uid", "clip_uid", "action_idx", "clip_parent_start_frame",
        "action_clip_start_frame", "action_clip_end_frame", "verb_label", "noun_label",
    )),
    *((OSCC, POSITIVE, name) for name in (
        "unique_id", "video_uid", "parent_start_frame", "parent_end_frame",
        "parent_start_sec", "parent_end_sec", "state_change",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("file", "row", "name"), NEEDED)
def test_a_missing_field_is_told_by_file_row_and_field(tmp_path, file, row, name):
    data = write(tmp_path, file, [without(row, name)])
    with pytest.raises(AnnotationInvalid, match=rf"{file}, row 0.*: no field '{name}'"):
        data.actions("train") if file == LTA else data.changes("train")


def test_what_must_be_unique_is(tmp_path):
    data = write(tmp_path, LTA, [ACTION, ACTION | {"action_clip_start_frame": 60}])
    with pytest.raises(AnnotationInvalid, match=r"row 1 .*clip_uid and action_idx.*row 0's"):
        data.actions("train")
    unannotated = OSCC.replace("train", "test_unannotated")
    moved = POSITIVE | {"parent_start_frame": 301}
    data = write(tmp_path, unannotated, [POSITIVE, NEGATIVE, moved])
    with pytest.raises(AnnotationInvalid, match=r"row 2 .*unique_id.*row 0's"):
        data.changes("test_unannotated")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"3", b'{"clips": 3}', b"[3]", b"\xff", b"[" * 9000]
)
def test_files_that_hold_no_rows_are_refused_by_name(tmp_path, content):
    data = write(tmp_path, LTA, [])
    (data.annotations / LTA).write_bytes(content)
    with pytest.raises(AnnotationInvalid, match="fho_lta_train"):
        data.actions("train")


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_whole_numbers_come_back_as_they_are(value):
    row = Row({"n": value, "f": float(value)}, "f.json", 0)
    assert row.whole("n") == value
    assert row.whole("f") == int(float(value))
