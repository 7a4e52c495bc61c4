import pytest

from model.data.records import group_by_clip
from model.data.samples import Tracks
from model.data.task_samples import anticipation_samples
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


def test_action_frames_are_counted_in_the_full_video(tmp_path):
    record = write(tmp_path, LTA, {"clips": [ACTION]}).actions("train")[0]
    assert (record.start_frame, record.end_frame) == (130, 370)


def test_frames_count_and_not_seconds(tmp_path):
    shifted = ACTION | {"action_clip_start_sec": 1.7, "action_clip_end_sec": 9.7}
    record = write(tmp_path, LTA, [shifted]).actions("train")[0]
    assert (record.start_frame, record.end_frame) == (130, 370)


@pytest.mark.parametrize("wrapped", [True, False])
def test_negatives_have_no_keyframe_and_rows_may_be_wrapped(tmp_path, wrapped):
    rows = [POSITIVE, NEGATIVE]
    data = write(tmp_path, OSCC, {"clips": rows, "version": "1"} if wrapped else rows)
    positive, negative = data.changes("train")
    assert (positive.state_change, positive.pnr_frame) == (True, 390)
    assert (negative.state_change, negative.pnr_frame) == (False, None)
    assert negative.unique_id == "any form/at all"


def test_bounds_of_segments_are_those_of_the_file_whatever_their_length(tmp_path):
    records = write(tmp_path, OSCC, [POSITIVE, NEGATIVE]).changes("train")
    assert [(r.start_frame, r.end_frame) for r in records] == [(300, 480), (600, 825)]
    assert [(r.start_s, r.end_s) for r in records] == [(10.0, 16.0), (20.0, 27.5)]


def test_actions_of_v2_have_no_clip_id(tmp_path):
    data = write(tmp_path, LTA, {"clips": [without(ACTION, "clip_id", "verb", "noun")]}, "v2")
    assert data.actions("train")[0].noun == 2


def test_an_unannotated_file_does_not_pass_for_a_labelled_one(tmp_path):
    hidden = without(ACTION, "verb_label", "noun_label")
    with pytest.raises(AnnotationInvalid, match="no field 'verb_label'"):
        write(tmp_path, LTA, [hidden]).actions("train")
    with pytest.raises(AnnotationInvalid, match="no field 'state_change'"):
        write(tmp_path, OSCC, [without(POSITIVE, "state_change")]).changes("train")


def test_a_null_label_is_unlabelled(tmp_path):
    record = write(tmp_path, LTA, [ACTION | {"verb_label": None}]).actions("train")[0]
    assert (record.verb, record.noun) == (None, 2)


BROKEN_ACTIONS = [
    ("video_uid", None), ("video_uid", 3), ("clip_uid", None), ("clip_uid", ""),
    ("action_idx", "0"), ("action_idx", 0.5), ("action_idx", True),
    ("clip_parent_start_frame", "100"), ("clip_parent_start_frame", None),
    ("action_clip_start_frame", float("nan")), ("action_clip_start_frame", [30]),
    ("action_clip_end_frame", 30), ("action_clip_end_frame", 29),
    ("action_clip_end_frame", float("inf")), ("action_clip_end_frame", 10**400),
    ("action_clip_start_sec", "1.0"),
    ("verb_label", 3), ("verb_label", -1), ("verb_label", "1"), ("noun_label", 4),
    ("noun_label", 1.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BROKEN_ACTIONS)
def test_a_broken_action_is_told_by_file_row_and_field(tmp_path, name, value):
    other = ACTION | {"action_idx": 9}
    data = write(tmp_path, LTA, [other, ACTION | {name: value}])
    with pytest.raises(
        AnnotationInvalid, match=rf"fho_lta_train\.json, row 1 .*: {name}: expected"
    ):
        data.actions("train")


BROKEN_CHANGES = [
    ("unique_id", None), ("unique_id", 5), ("video_uid", None), ("state_change", "true"),
    ("state_change", 1), ("parent_start_frame", "300"), ("parent_end_frame", 300),
    ("parent_end_frame", 12), ("parent_start_sec", None), ("parent_end_sec", "16"),
    ("parent_end_sec", 10.0), ("parent_pnr_frame", "390"), ("parent_pnr_frame", 390.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BROKEN_CHANGES)
def test_a_broken_segment_is_told_by_file_row_and_field(tmp_path, name, value):
    data = write(tmp_path, OSCC, [NEGATIVE, POSITIVE | {name: value}])
    pattern = rf"fho_oscc-pnr_train\.json, row 1 \(unique_id .*\): {name}: expected"
    with pytest.raises(AnnotationInvalid, match=pattern):
        data.changes("train")


def test_a_test_segment_listed_twice_is_asked_for_once(tmp_path, caplog):
    name = OSCC.replace("train", "test_unannotated")
    records = write(tmp_path, name, [POSITIVE, NEGATIVE, POSITIVE]).changes("test_unannotated")
    assert [r.start_frame for r in records] == [300, 600]
    assert "1 of 3 rows repeat" in caplog.text
    assert "asked for once" in caplog.text


@pytest.mark.parametrize("told", [{"pnr_frame": 390}, {"parent_pnr_frame": None, "pnr_frame": 390}])
def test_a_keyframe_that_only_pnr_frame_tells_is_taken(tmp_path, told):
    row = without(POSITIVE, "parent_pnr_frame", "clip_pnr_frame") | told
    assert write(tmp_path, OSCC, [row]).changes("train")[0].pnr_frame == 390


def test_windows_of_a_clip_follow_ranks_even_where_indices_have_gaps(tmp_path):
    bare = without(ACTION, "verb", "noun")
    rows = [bare | {"action_idx": 3 * i, "verb_label": i % 3} for i in range(22)]
    actions = write(tmp_path, LTA, rows).actions("train")
    assert list(group_by_clip(actions)) == [list(range(22))]
    tracks = Tracks.join([make_track(600, video_id="v")])
    samples = anticipation_samples(actions, tracks)
    assert samples.names == ["c_3"]  # the index the file has, of the last observed action
    assert samples.labels["verb"][0].tolist() == [i % 3 for i in range(2, 22)]
