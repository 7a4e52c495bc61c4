"""CaptainCook4D loads as published: steps by id, with or without errors, that were done."""

import json

import pytest

from model.data.tables.kinds import load_table
from model.data.video_files import find_videos
from model.errors import AnnotationInvalid

STEPS = (
    '"recording_id","step_id","start_time","end_time","description","has_errors"\n'
    '"1_7","3","7.072","46.288","Coat the cup, badly","True"\n'
    '"1_7","1","-1.0","-1.0","Pour egg","True"\n'
    '"2_5","1","0.5","20.004","Pour egg","False"\n'
)


def written(root, steps=STEPS):
    for folder in ("annotation_csv", "data_splits", "metadata", "videos/combined"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "annotation_csv/step_annotations.csv").write_text(steps)
    (root / "videos/combined/step_annotations.csv").write_text("of another release\n")
    (root / "annotation_csv/step_idx_description.csv").write_text(
        '"step_idx","step_description"\n"1","Pour egg"\n"3","Coat the cup"\n'
    )
    (root / "data_splits/recordings_data_split_combined.json").write_text(
        json.dumps({"train": ["1_7"], "val": ["2_5"], "test": ["9_9"]})
    )
    (root / "metadata/video_information.csv").write_text(
        "recording_id,duration(min),duration(sec)\n1_7,1,60.5\n2_5,0.3,20.0\n"
    )
    return root


@pytest.mark.parametrize("below", [".", "annotations"])
def test_steps_are_named_by_their_id_and_those_left_out_have_no_row(tmp_path, below):
    written(tmp_path / below)
    table = load_table(f"captaincook4d:{tmp_path / below}")
    assert table.video == ("1_7", "2_5")
    assert table.labels == {"step": ("Coat the cup", "Pour egg"), "has_errors": ("True", "False")}
    assert table.end_s.tolist() == [46.288, 20.004]
    assert table.split == {"1_7": "train", "2_5": "val"}
    assert table.notes == ("1 steps that were not done have no segment",)
    (tmp_path / "1_7_360p.mp4").touch()
    (tmp_path / "2_5.mp4").touch()
    found = find_videos(tmp_path, table.videos, names=table.file_names)
    assert [video.path.name for video in found.values()] == ["1_7_360p.mp4", "2_5.mp4"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"3"', '"4"', "line 2, step_id: expected an id of step_idx_description.csv, got '4'"),
        ('"False"', '"no"', "line 4, has_errors: expected True or False, got 'no'"),
        ('"-1.0","-1.0"', '"-1.0","5"', "line 3, start_time: expected seconds from 0, got '-1.0'"),
        ("20.004", "20.2", "line 4: ends at 20.2 s; 2_5 ends at 20.000 s"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, said):
    with pytest.raises(AnnotationInvalid) as error:
        load_table(f"captaincook4d:{written(tmp_path, STEPS.replace(old, new, 1))}")
    assert f"annotation_csv/step_annotations.csv, {said}" in str(error.value)


def test_splits_are_lists_of_recordings(tmp_path):
    written(tmp_path)
    splits = tmp_path / "data_splits/recordings_data_split_combined.json"
    splits.write_text('{"train": "1_7"}')
    with pytest.raises(AnnotationInvalid, match="expected a list of recordings under 'train'"):
        load_table(f"captaincook4d:{tmp_path}")
    splits.unlink()
    assert load_table(f"captaincook4d:{tmp_path}").split is None
