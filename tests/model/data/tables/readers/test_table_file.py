"""Tables that people made: ways to write them, and a message with the line for what is wrong."""

import csv
import random

import pyarrow
import pytest
from pyarrow import parquet

from model.data.tables import csv_rows
from model.data.tables.readers.table_file import read_table
from model.errors import AnnotationInvalid

HEADER = "video,start_s,end_s,verb,noun\n"


def written(tmp_path, text, name="labels.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def rows_of(table):
    return list(zip(table.video, table.start_s, table.end_s, *table.labels.values(), strict=True))


def refused(tmp_path, text, **how):
    path = written(tmp_path, text, **how)
    with pytest.raises(AnnotationInvalid) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)


def test_rows_equal_an_independent_reading(tmp_path):
    rng = random.Random(0)
    text = HEADER + "".join(
        f'"Küche, {rng.randrange(9)}",{n * 3 + rng.random():.3f},{n * 3 + 2 + rng.random():.2f},'
        f"{rng.choice(['cut', 'wash', ''])},{rng.choice(['pan', 'lid'])}\n"
        for n in range(200)
    )
    path = written(tmp_path, text)
    with path.open(encoding="utf-8", newline="") as file:
        expected = sorted(
            (r["video"], float(r["start_s"]), float(r["end_s"]), r["verb"] or None, r["noun"])
            for r in csv.DictReader(file)
        )
    table = read_table(path)
    assert rows_of(table) == expected
    lines = path.read_text().splitlines()
    for row in range(0, 200, 20):
        assert f"{table.end_s[row]:.2f}" in lines[table.place[row] - 1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.csv", "\ufeffvideo,start_s,end_s,verb\na b,1.5,62.25,cut\n"),
        ("semicolons.csv", "video;start;end;verb\na b;1,5;62,25;cut\n"),
        ("tabs.tsv", "video\tstart_s\tend_s\tverb\na b\t1.5\t62.25\tcut\n"),
        ("clock.csv", "video,start,end,verb\na b,00:00:01.5,0:01:02.25,cut\n"),
        ("blanks.csv", "video, start_s, end_s, verb \r\n\r\na b , 1.5 ,62.25,cut\r\n,,,\r\n"),
    ],
)
def test_ways_to_write_one_row(tmp_path, name, text):
    table = read_table(written(tmp_path, text, name))
    assert rows_of(table) == [("a b", 1.5, 62.25, "cut")]


@pytest.mark.parametrize("times", [(1.5, 62.25), ("00:00:01.5", "00:01:02.25")])
def test_parquet_has_the_same_rows(tmp_path, times):
    columns = {
        "video": ["a b", "a b"],
        "start_s": [times[0], times[1]],
        "end_s": [times[1], times[1].replace("1:", "2:") if isinstance(times[1], str) else 122.25],
        "verb": ["cut", None],
        "count": [2.0, 3.0],
    }
    path = tmp_path / "labels.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path)
    assert rows_of(table) == [("a b", 1.5, 62.25, "cut", "2"), ("a b", 62.25, 122.25, None, "3")]
    assert table.where(1) == f"{path}, row 2"
    path.write_bytes(b"PAR1")
    with pytest.raises(AnnotationInvalid, match="cannot be read as Parquet"):
        read_table(path)


def test_splits_may_be_given(tmp_path):
    text = "video,start_s,end_s,verb,split\na,1,2,cut,train\nb,1,2,cut,val\na,2,3,cut,train\n"
    assert read_table(written(tmp_path, text)).split == {"a": "train", "b": "val"}
    said = refused(tmp_path, text + "a,4,5,cut,val\nb,5,6,cut,dev\n")
    assert "line 5, split: a is for train in a row above, here for val" in said
    assert "line 6, split: expected one of train, val, test, got 'dev'" in said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,x,2,cut,\n", "line 2, start_s: expected seconds from 0, got 'x'"),
        ("a,-1,2,cut,\n", "line 2, start_s: expected seconds from 0, got '-1'"),
        ("a,1,nan,cut,\n", "line 2, end_s: expected seconds from 0, got 'nan'"),
        ("a,1,2,NaN,pan\n", "line 2, verb: expected a label or an empty cell, got 'NaN'"),
        ("a,2,1,cut,\n", "line 2, end_s: expected more than start_s (2), got 1"),
        (",1,2,cut,\n", "line 2, video: expected a name, got nothing"),
        ("a,1,2,cut\n", "line 2: has more or fewer cells than the header, 4 instead of 5"),
        ("a,1,2,cut,pan\na,1,2,cut,pan\n", "labels.csv, line 3: repeats "),
        ("a,00:00:01,5,cut,\n", "line 2, end_s: '5' is seconds, but above there are HH:MM:SS"),
        ("a,1,2,cut,\na,0:00:03,0:00:04,cut,\n", "line 3, start_s: '0:00:03' is HH:MM:SS"),
        ('a,"1,5",2,cut,\n', "line 2, start_s: expected seconds from 0, got '1,5'"),
        ('a,1,2,"cut"s,\n', "line 2: not CSV: "),
        ("", "no row has a segment"),
        ("a,1,2,cut,\n", "no row has a label of noun"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(tmp_path, rows, said):
    assert said in refused(tmp_path, HEADER + rows)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "needs the columns video, start_s, end_s; lacks video, start_s, end_s: has nothing"),
        (
            "vidoe,start_s,end_s,verb",
            "lacks video: has 'vidoe', 'start_s', 'end_s', 'verb'; 'vidoe'",
        ),
        ("video,start_ms,end_ms,verb", "lacks start_s, end_s"),
        ("video,start_s,end_s", "needs a column of labels besides video, start_s, end_s"),
        ("video,start_s,end_s,verb,verb", "two columns have the name 'verb'"),
        (",video,start_s,end_s,verb", "column 1 has no name"),
        ("video,start_s,start,end_s,verb", "expected one of the columns start_s, start"),
    ],
)
def test_a_header_that_is_wrong_is_line_1(tmp_path, header, said):
    message = refused(tmp_path, header + "\n")
    assert ", line 1: " in message
    assert said in message


def test_every_bad_line_is_named_at_once(tmp_path):
    message = refused(tmp_path, HEADER + "a,1,2,cut,pan\n" + "a,x,2,cut,pan\n" * 30)
    assert [f"line {n}, start_s" in message for n in (2, 3, 22, 23)] == [False, True, True, False]
    assert "... and 10 more" in message


def test_another_encoding_is_named_with_its_line(tmp_path):
    text = HEADER + "a,1,2,cut,pan\nKüche,1,2,cut,pan\n"
    assert "labels.csv, line 3: not UTF-8" in refused(tmp_path, text, encoding="cp1252")
    assert "line 1: not UTF-8" in refused(tmp_path, text, encoding="utf-16")


def test_overlapping_rows_are_named_unless_they_are_allowed(tmp_path):
    path = written(tmp_path, HEADER + "a,1,5,cut,\na,4,6,wash,pan\na,7,8,cut,\na,7.5,9,cut,\n")
    with pytest.raises(AnnotationInvalid) as error:
        read_table(path)
    assert f"{path}, line 3: verb 'wash' from 4 s, but 'cut' of {path}, line 2 lasts" in str(
        error.value
    )
    assert "line 5" not in str(error.value)
    assert len(read_table(path, overlaps="allow")) == 4


def test_a_table_beyond_the_limit_is_refused_and_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_ROWS", 3)
    path = written(tmp_path, HEADER + "a,1,2,cut,pan\na,2,3,cut,pan\na,3,4,cut,pan\n")
    with pytest.raises(AnnotationInvalid, match="has more than 3 lines, the limit"):
        read_table(path)
    with pytest.raises(AnnotationInvalid, match=r"nothing\.csv: cannot be read: No such file"):
        read_table(tmp_path / "nothing.csv")
