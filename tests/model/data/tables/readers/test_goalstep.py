"""Goal-Step loads as published: a row for every timed step and substep."""

import json

import pytest

from model.data.tables.kinds import load_table
from model.errors import AnnotationInvalid


def segment(start, end, name, *parts):
    return {"start_time": start, "end_time": end, "step_category": name, "segments": list(parts)}


def video(name, *steps):
    return {"video_uid": name, "goal_category": "COOKING:BREAD", "segments": list(steps)}


def written(folder, name, *videos):
    folder.mkdir(exist_ok=True)
    (folder / f"goalstep_{name}.json").write_text(json.dumps({"videos": list(videos)}))


def test_a_row_has_the_label_of_its_level_and_the_goal(tmp_path):
    knead = segment(1, 9, "Knead", segment(1, 3, "Take dough"), segment(4, 9, "Press"))
    written(tmp_path / "annotations", "train", video("b", knead), video("c", segment(0, 1, "Wash")))
    written(tmp_path / "annotations", "valid", video("a", segment(0.5, 2, "Wash")))
    table = load_table(f"goalstep:{tmp_path}")
    assert table.labels["goal"] == ("COOKING:BREAD",) * 5
    assert table.labels["step"] == ("Wash", None, "Knead", None, "Wash")
    assert table.labels["substep"] == (None, "Take dough", None, "Press", None)
    assert table.end_s.tolist() == [2, 3, 9, 9, 1]
    assert table.split == {"a": "val", "b": "train", "c": "train"}
    assert table.where(3).endswith("goalstep_train.json, videos[0].segments[0].segments[1]")


def test_what_is_wrong_is_named_by_its_entry(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"expected goalstep_train\.json or goalstep_valid"):
        load_table(f"goalstep:{tmp_path}")
    for entry, said in (
        (segment("1", 9, "Knead"), "row 0: start_time: expected a number, got '1'"),
        (segment(1, float("nan"), "Knead"), "end_time: expected a number, got nan"),
        (segment(1, 2, 3), "step_category: expected a string, got 3"),
        ({"segments": []}, "no field 'start_time'"),
        (7, r"videos[0]: expected a list of objects under 'segments'"),
    ):
        written(tmp_path, "train", video("a", entry))
        with pytest.raises(AnnotationInvalid) as error:
            load_table(f"goalstep:{tmp_path}")
        assert f"{tmp_path}/goalstep_train.json, videos[0]" in str(error.value)
        assert said in str(error.value)
    written(tmp_path, "train", video("a", segment(2, 1, "Knead")))
    with pytest.raises(AnnotationInvalid, match=r"videos\[0\]\.segments\[0\]: 2 to 1"):
        load_table(f"goalstep:{tmp_path}")
