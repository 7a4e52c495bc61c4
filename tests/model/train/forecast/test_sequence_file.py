"""Label sequences are read strictly from names or lists of ids, in time order, split by video."""

import os
from pathlib import Path

import pytest

from model.errors import AnnotationInvalid
from model.train.forecast.sequence_file import read_sequences

HEADER = "video_id,annotation_id,start_sec,end_sec,verb,noun,scenario\n"
REAL_DATA = os.environ.get("EGOPACK_REAL_DATA")


def write(folder, text, name="ego_train.csv", **valid):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(HEADER + text)
    for output, labels in valid.items():
        (folder / f"valid_{output}s.txt").write_text("\n".join(labels))
    return folder


def test_the_first_valid_label_of_a_list_counts_and_rows_without_one_are_left_out(tmp_path):
    text = (
        'b,x,5.0,6.0,[7],"[30, 10]",lab\n'
        'a,x,9.0,9.5,"[99, 8]",[20],lab\n'
        "a,x,1.0,2.0,[7],[10],lab\n"
        "a,x,3.0,4.0,[7],[],lab\n"
        "a,x,3.0,4.0,[99],[10],lab\n"
    )
    found = read_sequences(write(tmp_path, text, verb=["7", "8"], noun=["10", "20"]))
    assert found.labels == {"verb": ["7", "8"], "noun": ["10", "20"]}
    assert found.videos["a"].tolist() == [[0, 0], [1, 1]]
    assert found.videos["b"].tolist() == [[0, 0]]
    assert found.left_out == 2


def test_plain_names_need_no_list_of_valid_ones_and_files_are_joined(tmp_path):
    write(tmp_path, "a,x,1,2,wash,pan,k\n")
    write(tmp_path, "a,x,0,1,take,pan,k\n", name="ego_val.csv")
    (tmp_path / "taxonomy.csv").write_text("label,group\nwash,x\n")
    found = read_sequences(tmp_path)
    assert found.labels == {"verb": ["take", "wash"], "noun": ["pan"]}
    assert found.videos["a"].tolist() == [[0, 0], [1, 0]]
    assert read_sequences(tmp_path / "ego_val.csv").labels["verb"] == ["take"]


def test_a_split_is_by_video_whole_and_moves_with_the_seed(tmp_path):
    rows = "".join(f"v{i},x,{t},{t + 1},v{i},n,k\n" for i in range(20) for t in range(3))
    found = read_sequences(write(tmp_path, rows))
    parts = found.split(0)
    assert {name: len(clips) for name, clips in parts.items()} == {"train": 14, "val": 3, "test": 3}
    seen = [clip[0, 0].item() for clips in parts.values() for clip in clips]
    assert sorted(seen) == sorted(ids[0, 0].item() for ids in found.videos.values())
    again, other = found.split(0), found.split(1)
    assert [c.tolist() for c in again["test"]] == [c.tolist() for c in parts["test"]]
    assert [c.tolist() for c in other["test"]] != [c.tolist() for c in parts["test"]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,x,one,2,wash,pan,k\n", "line 2, start_sec: expected seconds from 0, got 'one'"),
        ("a,x,1,nan,wash,pan,k\n", "line 2, end_sec: expected seconds"),
        ("a,x,3,2,wash,pan,k\n", "line 2: end_sec 2 is before start_sec 3"),
        (",x,1,2,wash,pan,k\n", "line 2, video_id: expected a name"),
        ("a,x,1,2,[7,pan,k\n", "line 2, verb: expected a name or a JSON list"),
        ("a,x,1,2,[[7]],pan,k\n", "line 2, verb: expected a name or a JSON list"),
        ("a,x,1,2\n", "line 2: has more or fewer cells"),
        ("a,x,1,2,[],[],k\n", "no row has a verb and a noun"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(tmp_path, row, said):
    with pytest.raises(AnnotationInvalid) as error:
        read_sequences(write(tmp_path, row))
    assert said in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_place_without_sequences_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match="no such file or folder"):
        read_sequences(tmp_path / "nowhere")
    with pytest.raises(AnnotationInvalid, match="no CSV file has the columns video_id"):
        read_sequences(tmp_path)
    (tmp_path / "x.csv").write_text("video_id,verb\n")
    with pytest.raises(AnnotationInvalid, match="lacks start_sec, end_sec, noun"):
        read_sequences(tmp_path / "x.csv")


@pytest.mark.skipif(REAL_DATA is None, reason="EGOPACK_REAL_DATA names no folder")
def test_egoexolearn_is_read_whole():
    found = read_sequences(Path(str(REAL_DATA)) / "egoexolearn")
    assert {name: len(labels) for name, labels in found.labels.items()} == {"verb": 19, "noun": 31}
    kept = sum(map(len, found.videos.values()))
    assert (kept, found.left_out) == (51_847, 7_691)
