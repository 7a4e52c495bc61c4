"""Published annotations of people load whole: rows equal an independent reading of the files.

`EGOPACK_REAL_DATA` names a folder with `egoexolearn/`, `goalstep/` and `captaincook4d/`.
"""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from model.data.tables.kinds import load_table
from model.data.tables.rare import rare_labels
from model.data.tables.splits import split_by_video

ROOT = Path(os.environ.get("EGOPACK_REAL_DATA", ""))
FIRST = 100

pytestmark = pytest.mark.skipif(Path() == ROOT, reason="EGOPACK_REAL_DATA names no folder")


def load(kind):
    return load_table(f"{kind}:{ROOT / kind}")


def read(path):
    with (ROOT / path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def first_rows(table):
    columns = table.start_s.tolist(), table.end_s.tolist(), *table.labels.values()
    return list(zip(table.video, *columns, strict=True))[:FIRST]


def counted(table, output):
    return sum(label is not None for label in table.labels[output])


@pytest.mark.slow(3)
def test_egoexolearn():
    table = load("egoexolearn")
    assert (len(table), len(table.videos)) == (59_538, 421)
    assert {output: len(table.names(output)) for output in table.outputs} == {
        "verb": 19,
        "noun": 31,
    }
    expected = []
    for split in ("train", "val", "test"):
        for row in read(f"egoexolearn/ego_{split}.csv"):
            labels = []
            for output in ("verb", "noun"):
                valid = (ROOT / f"egoexolearn/valid_{output}s.txt").read_text().split()
                that_count = [i for i in json.loads(row[output]) if str(i) in valid]
                labels.append(that_count[0] if that_count else None)
            expected.append(
                (row["video_id"], float(row["start_sec"]), float(row["end_sec"]), *labels)
            )
    names = [
        [row["label"] for row in read(f"egoexolearn/narration_{output}_taxonomy.csv")]
        for output in ("verb", "noun")
    ]
    expected.sort(key=lambda row: row[:3])
    assert first_rows(table) == [
        (*row[:3], *(None if i is None else names[o][i] for o, i in enumerate(row[3:])))
        for row in expected[:FIRST]
    ]
    assert table.split is None
    assert "421 of 421 videos are in several of the published splits" in table.notes[0]
    anew = split_by_video(table, seed=0)
    assert Counter(anew.split.values()) == {"train": 337, "val": 84}
    assert rare_labels(anew) == {}


def test_goalstep():
    table = load("goalstep")
    videos = json.loads((ROOT / "goalstep/goalstep_valid.json").read_text())["videos"]
    assert len(table.videos) == len(videos) == 134
    assert (counted(table, "step"), counted(table, "substep")) == (3_349, 4_347)
    assert len(table) == counted(table, "goal") == 3_349 + 4_347
    expected = []
    for video in videos:
        for step in video["segments"]:
            facts = video["video_uid"], step["start_time"], step["end_time"]
            expected.append((*facts, video["goal_category"], step["step_category"], None))
            for part in step["segments"]:
                facts = video["video_uid"], part["start_time"], part["end_time"]
                expected.append((*facts, video["goal_category"], None, part["step_category"]))
    expected.sort(key=lambda row: row[:3])
    assert first_rows(table) == expected[:FIRST]


def test_captaincook4d():
    table = load("captaincook4d")
    every = read("captaincook4d/step_annotations.csv")
    done = [row for row in every if float(row["end_time"]) >= 0]
    assert len(table.videos) == len({row["recording_id"] for row in every}) == 384
    assert (len(every), len(table), len(done)) == (5_700, 5_413, 5_413)
    assert table.notes == ("287 steps that were not done have no segment",)
    rows = read("captaincook4d/step_idx_description.csv")
    names = {row["step_idx"]: row["step_description"] for row in rows}
    expected = [
        (
            row["recording_id"],
            float(row["start_time"]),
            float(row["end_time"]),
            names[row["step_id"]],
            row["has_errors"],
        )
        for row in done
    ]
    expected.sort(key=lambda row: row[:3])
    assert first_rows(table) == expected[:FIRST]
    splits = json.loads((ROOT / "captaincook4d/recordings_data_split_combined.json").read_text())
    assert table.split == {name: part for part, names in splits.items() for name in names}
