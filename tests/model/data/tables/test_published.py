"""Files are found a little below a folder, splits are used unless they share videos."""

import pytest

from model.data.tables.published import find_file, need_file, usable_split
from model.errors import AnnotationInvalid


def test_a_file_is_found_in_the_folder_or_up_to_two_levels_below(tmp_path):
    for place in ("a/b/c", "a/b", "a", "."):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        assert find_file(tmp_path, "x.csv") is None
        (tmp_path / place / "x.csv").touch()
        assert find_file(tmp_path, "x.csv") == (
            None if place == "a/b/c" else tmp_path / place / "x.csv"
        )
        if place != "a/b/c":
            (tmp_path / place / "x.csv").unlink()


def test_of_several_files_the_one_in_a_named_folder_counts(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").touch()
    assert find_file(tmp_path, "x.csv", ("b",)) == tmp_path / "b" / "x.csv"
    with pytest.raises(AnnotationInvalid, match=r"found .*/a/x\.csv and .*/b/x\.csv"):
        find_file(tmp_path, "x.csv")


def test_a_file_that_is_needed_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"there is no x\.csv in this folder or"):
        need_file(tmp_path, "x.csv")
    with pytest.raises(AnnotationInvalid, match="there is no such folder"):
        need_file(tmp_path / "nowhere", "x.csv")


def test_splits_that_share_videos_or_lack_one_are_not_used():
    train, val = ("a", "train"), ("b", "val")
    assert usable_split([train, val, train]) == ({"a": "train", "b": "val"}, ())
    none, notes = usable_split([train, val, ("a", "val")])
    assert none is None
    assert notes == ("1 of 2 videos are in several of the published splits: videos are split anew",)
    assert usable_split([train])[1] == (
        "of the published splits there is only train: videos are split anew",
    )
    assert usable_split([])[0] is None
