"""Cells of CSV files: names of classes, seconds, times of a clock."""

import pytest

from model.data.tables.csv_rows import clock, clock_seconds, read_lines, read_names, seconds
from model.errors import AnnotationInvalid


def test_times_of_a_clock_are_seconds():
    assert clock_seconds("01:02:03.50") == 3723.5
    assert clock_seconds("0:00:03,25") == 3.25
    for text in ("03.5", "00:03", "00:61:00", "00:00:03.5.1", "-0:00:03", ""):
        assert clock_seconds(text) is None
        with pytest.raises(AnnotationInvalid, match="f, line 2, start: expected HH:MM:SS"):
            clock("f, line 2", "start", text)


def test_seconds_are_numbers_from_0():
    assert [seconds("f", "start", text) for text in ("0", "1.5", "2e3")] == [0, 1.5, 2000]
    for text in ("-1", "nan", "inf", "1,5", "", "00:00:01"):
        with pytest.raises(AnnotationInvalid, match="f, start: expected seconds from 0, got"):
            seconds("f", "start", text)


def test_classes_have_a_name_and_an_id_of_their_own(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("id,key,more\n0,take,x\n1,put,y\n")
    assert read_names(path, "id", "key") == {"0": "take", "1": "put"}
    path.write_text("id,key\n0,take\n0,put\n")
    with pytest.raises(AnnotationInvalid, match=r"classes\.csv, line 3: id '0' is there already"):
        read_names(path, "id", "key")
    path.write_text("id,key\n0,\n")
    with pytest.raises(AnnotationInvalid, match="line 2: id '0' has no key"):
        read_names(path, "id", "key")


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\ufeffa b \r\n\n c\n", encoding="utf-8")
    assert list(read_lines(path)) == [(1, "a b"), (3, "c")]
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(AnnotationInvalid, match=r"list\.txt, line 2: not UTF-8"):
        list(read_lines(path))
