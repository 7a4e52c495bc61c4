import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.annotations import DataRoot
from model.data.samples import Tracks
from model.data.task_samples import keyframe_samples
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
from tests.support.factories import make_track


def test_actions_are_grouped_by_clip_and_ordered_by_index_not_by_time(tmp_path):
    rows = [
        ACTION | {"clip_uid": clip, "action_idx": i, "action_clip_start_frame": start}
        for clip, i, start in [("b", 1, 10), ("a", 1, 20), ("b", 0, 60), ("a", 0, 50)]
    ]
    records = write(tmp_path, LTA, rows).actions("train")
    assert [(r.clip_uid, r.action_idx) for r in records] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [r.start_frame for r in records] == [150, 120, 160, 110]


def test_a_video_may_have_clips_in_two_splits(tmp_path):
    write(tmp_path, LTA, [ACTION])
    data = write(tmp_path, "fho_lta_val.json", [ACTION | {"clip_uid": "other"}])
    assert {data.actions(s)[0].video_uid for s in ("train", "val")} == {"v"}


def test_unannotated_files_are_read_without_labels(tmp_path):
    hidden = without(ACTION, "verb", "noun", "verb_label", "noun_label")
    write(tmp_path, "fho_lta_test_unannotated.json", {"clips": [hidden]})
    shown = ("unique_id", "clip_id", "video_uid", "parent_start_sec", "parent_end_sec",
             "parent_start_frame", "parent_end_frame")  # fmt: skip
    data = write(tmp_path, "fho_oscc-pnr_test_unannotated.json", [{k: POSITIVE[k] for k in shown}])
    action, change = data.actions("test_unannotated")[0], data.changes("test_unannotated")[0]
    assert (action.verb, action.noun) == (None, None)
    assert (change.state_change, change.pnr_frame) == (None, None)
    tracks = Tracks.join([make_track(600, video_id="v")])
    assert len(keyframe_samples([change], tracks)) == 1  # PNR is asked of every test segment


@settings(max_examples=20, deadline=None)
@given(verbs=st.integers(1, 200), nouns=st.integers(1, 600))
def test_taxonomies_of_any_size_bound_the_labels(tmp_path_factory, verbs, nouns):
    root = tmp_path_factory.mktemp("root")
    last = without(ACTION, "verb", "noun") | {"verb_label": verbs - 1, "noun_label": nouns - 1}
    data = write(root, LTA, [last])
    taxonomy = {"verbs": [f"v{i}" for i in range(verbs)], "nouns": [f"n{i}" for i in range(nouns)]}
    (data.annotations / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    assert {k: len(v) for k, v in data.taxonomy.items()} == {"verb": verbs, "noun": nouns}
    assert data.actions("train")[0].noun == nouns - 1
    (data.annotations / LTA).write_text(json.dumps([last | {"noun_label": nouns}]))
    with pytest.raises(AnnotationInvalid, match=f"noun_label: expected null or 0 to {nouns - 1}"):
        data.actions("train")


def test_only_the_files_of_the_tasks_asked_for_are_opened(tmp_path):
    data = write(tmp_path, LTA, [ACTION])
    records = data.read("train", ("lta", "ar"))
    assert (len(records.actions), records.changes, records.videos) == (1, [], ["v"])
    with pytest.raises(AnnotationInvalid, match=r"fho_oscc-pnr_train\.json is not there"):
        data.read("train", ("ar", "pnr"))
    data = write(tmp_path / "other", OSCC, [NEGATIVE])
    records = data.read("train", ("oscc",))
    assert (records.actions, len(records.changes), records.videos) == ([], 1, ["v"])


@pytest.mark.parametrize("taxonomy", [[], {"verbs": ["a"]}, {"verbs": ["a"], "nouns": [3]}])
def test_a_broken_taxonomy_is_refused(tmp_path, taxonomy):
    data = write(tmp_path, LTA, [ACTION])
    (data.annotations / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    with pytest.raises(AnnotationInvalid, match=r"taxonomy\.json: expected a list of names"):
        _ = data.taxonomy


def test_a_missing_file_says_what_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"fho_lta_train\.json.*ego4d --output_directory="):
        DataRoot(tmp_path).actions("train")
    with pytest.raises(AnnotationInvalid, match="test_unannotated"):
        DataRoot(tmp_path).actions("test")


def test_v1_is_found_before_v2_and_v2_where_it_is_alone(tmp_path):
    write(tmp_path, LTA, [ACTION], "v2")
    assert DataRoot.find(tmp_path).version == "v2"
    write(tmp_path, LTA, [ACTION], "v1")
    assert DataRoot.find(tmp_path).version == "v1"
    assert DataRoot.find(tmp_path, "v2").version == "v2"


@pytest.mark.parametrize(("version", "asked"), [(None, "v1"), ("v2", "v2")])
def test_a_root_without_annotations_says_how_to_fetch_them(tmp_path, version, asked):
    (tmp_path / "v1" / "annotations").mkdir(parents=True)  # there, and empty
    with pytest.raises(AnnotationInvalid) as caught:
        DataRoot.find(tmp_path, version)
    command = (
        f"ego4d --output_directory={tmp_path} --datasets annotations omnivore_video_swinl "
        f"--benchmarks FHO --version {asked} -y"
    )
    assert command in str(caught.value)
    assert str(tmp_path / asked / "annotations" / "fho_*.json") in str(caught.value)


@pytest.mark.parametrize("place", ["v1/ego4d.json", "ego4d.json"])
def test_lengths_come_from_the_metadata_where_it_is_there(tmp_path, place):
    data = write(tmp_path, LTA, [ACTION])
    assert data.num_frames == {}
    videos = [{"video_uid": "v", "video_metadata": {"num_frames": 900}},
              {"video_uid": "w", "video_metadata": None},
              {"video_uid": "x", "video_metadata": {"num_frames": None}}]  # fmt: skip
    (tmp_path / place).write_text(json.dumps({"videos": videos, "clips": []}))
    assert DataRoot(data.root).num_frames == {"v": 900}
