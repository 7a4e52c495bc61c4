"""EPIC-KITCHENS-100 loads as published: labels are the keys of the classes."""

import csv

import pytest

from model.data.tables.kinds import load_table
from model.data.video_files import find_videos
from model.errors import AnnotationInvalid
from tests.model.support.epic_kitchens import (
    COLUMNS,
    NOUNS,
    VERBS,
    VIDEOS,
    video_path,
    write_annotations,
)


def seconds(text):
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def test_all_rows_equal_an_independent_reading(tmp_path):
    write_annotations(tmp_path / "annotations", actions=30)
    table = load_table(f"epic-kitchens:{tmp_path}")
    expected = []
    for path in (tmp_path / "annotations").glob("EPIC_100_[tv][ra]*.csv"):
        with path.open(newline="") as file:
            expected += [
                (
                    row["video_id"],
                    seconds(row["start_timestamp"]),
                    seconds(row["stop_timestamp"]),
                    VERBS[int(row["verb_class"])],
                    NOUNS[int(row["noun_class"])],
                )
                for row in csv.DictReader(file)
            ]
    assert len(table) == 150
    columns = table.start_s, table.end_s, table.labels["verb"], table.labels["noun"]
    assert list(zip(table.video, *columns, strict=True)) == sorted(expected)
    parts = {"train": "train", "validation": "val"}
    assert table.split == {name: parts[part] for part in VIDEOS for name in VIDEOS[part]}
    assert table.notes == ()


def test_videos_are_found_as_the_downloader_leaves_them(tmp_path):
    write_annotations(tmp_path)
    table = load_table(f"epic-kitchens:{tmp_path}")
    for video in table.videos:
        video_path(tmp_path, video).parent.mkdir(parents=True, exist_ok=True)
        video_path(tmp_path, video).touch()
    found = find_videos(tmp_path, table.videos)
    assert {name: video.path for name, video in found.items()} == {
        name: video_path(tmp_path, name) for name in table.videos
    }


def test_train_alone_is_split_anew(tmp_path):
    write_annotations(tmp_path)
    (tmp_path / "EPIC_100_validation.csv").unlink()
    table = load_table(f"epic-kitchens:{tmp_path}")
    assert table.split is None
    assert "only train" in table.notes[0]


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"there is no EPIC_100_verb_classes\.csv"):
        load_table(f"epic-kitchens:{tmp_path}")
    write_annotations(tmp_path)
    path = tmp_path / "EPIC_100_train.csv"
    row = dict.fromkeys(COLUMNS, "x") | {"verb_class": "4", "noun_class": "0"}
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(AnnotationInvalid, match=r"train\.csv, line 2, verb_class: expected an id"):
        load_table(f"epic-kitchens:{tmp_path}")
    row["verb_class"] = "0"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(AnnotationInvalid, match="line 2, start_timestamp: expected HH:MM:SS"):
        load_table(f"epic-kitchens:{tmp_path}")
    path.write_text("video_id\n")
    with pytest.raises(AnnotationInvalid, match="line 1: needs the columns video_id, start_t"):
        load_table(f"epic-kitchens:{tmp_path}")
