import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.annotations import DataRoot
from model.data.json_rows import Row
from model.data.records import group_by_clip
from model.data.samples import Tracks
from model.data.task_samples import anticipation_samples, keyframe_samples
from model.errors import AnnotationInvalid
from tests.factories import make_track

ACTION = {
    "video_uid": "v", "clip_uid": "c", "clip_id": 7, "action_idx": 0,
    "clip_parent_start_sec": 100 / 30, "clip_parent_start_frame": 100,
    "action_clip_start_sec": 1.0, "action_clip_start_frame": 30,
    "action_clip_end_sec": 9.0, "action_clip_end_frame": 270,
    "verb": "b", "noun": "f", "verb_label": 1, "noun_label": 2,
}  # fmt: skip
POSITIVE = {
    "unique_id": "1-100_5-108_5", "clip_id": "12", "clip_uid": "c", "video_uid": "v",
    "parent_start_sec": 10.0, "parent_end_sec": 16.0,
    "parent_start_frame": 300, "parent_end_frame": 480,
    "clip_start_frame": 200, "clip_end_frame": 380,
    "state_change": True, "parent_pnr_frame": 390, "clip_pnr_frame": 290,
}  # fmt: skip
NEGATIVE = {
    "unique_id": "any form/at all", "clip_id": "12", "clip_uid": None, "video_uid": "v",
    "parent_start_sec": 20.0, "parent_end_sec": 27.5,
    "parent_start_frame": 600, "parent_end_frame": 825,
    "state_change": False, "pnr_frame": None,
}  # fmt: skip
TAXONOMY = {"verbs": ["a", "b", "c_(x,_y)"], "nouns": ["d", "e", "f", "g"]}
LTA, OSCC = "fho_lta_train.json", "fho_oscc-pnr_train.json"


def write(root, name, value, version="v1"):
    folder = root / version / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    (folder / "fho_lta_taxonomy.json").write_text(json.dumps(TAXONOMY))
    return DataRoot(root, version)


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def test_action_frames_are_counted_in_the_full_video(tmp_path):
    record = write(tmp_path, LTA, {"clips": [ACTION]}).actions("train")[0]
    assert (record.start_frame, record.end_frame) == (130, 370)


def test_frames_count_and_not_seconds(tmp_path):
    shifted = ACTION | {"action_clip_start_sec": 1.7, "action_clip_end_sec": 9.7}
    record = write(tmp_path, LTA, [shifted]).actions("train")[0]
    assert (record.start_frame, record.end_frame) == (130, 370)


def test_a_late_stream_is_silent_and_a_contradiction_is_told_once(tmp_path, caplog):
    late = POSITIVE | {"parent_start_sec": 10.02, "parent_end_sec": 16.02}
    data = write(tmp_path, OSCC, [late])
    data.changes("train")
    assert caplog.messages == []
    wrong = [late | {"unique_id": str(i), "parent_end_sec": 17.0} for i in range(5)]
    with caplog.at_level(logging.WARNING):
        write(tmp_path, OSCC, [late, *wrong]).changes("train")
    assert len(caplog.messages) == 1
    assert "5 of 6 rows" in caplog.messages[0]


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


def test_an_unannotated_file_does_not_pass_for_a_labelled_one(tmp_path):
    hidden = without(ACTION, "verb_label", "noun_label")
    with pytest.raises(AnnotationInvalid, match="no field 'verb_label'"):
        write(tmp_path, LTA, [hidden]).actions("train")
    with pytest.raises(AnnotationInvalid, match="no field 'state_change'"):
        write(tmp_path, OSCC, [without(POSITIVE, "state_change")]).changes("train")


def test_a_null_label_is_unlabelled(tmp_path):
    record = write(tmp_path, LTA, [ACTION | {"verb_label": None}]).actions("train")[0]
    assert (record.verb, record.noun) == (None, 2)


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


NEEDED = [
    *((LTA, ACTION, name) for name in (
        "video_uid", "clip_uid", "action_idx", "clip_parent_start_frame",
        "action_clip_start_frame", "action_clip_end_frame", "verb_label", "noun_label",
    )),
    *((OSCC, POSITIVE, name) for name in (
        "unique_id", "video_uid", "parent_start_frame", "parent_end_frame",
        "parent_start_sec", "parent_end_sec", "state_change",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("file", "row", "name"), NEEDED)
def test_a_missing_field_is_told_by_file_row_and_field(tmp_path, file, row, name):
    data = write(tmp_path, file, [without(row, name)])
    with pytest.raises(AnnotationInvalid, match=rf"{file}, row 0.*: no field '{name}'"):
        data.actions("train") if file == LTA else data.changes("train")


def test_what_must_be_unique_is(tmp_path):
    data = write(tmp_path, LTA, [ACTION, ACTION | {"action_clip_start_frame": 60}])
    with pytest.raises(AnnotationInvalid, match=r"row 1 .*clip_uid and action_idx.*row 0's"):
        data.actions("train")
    unannotated = OSCC.replace("train", "test_unannotated")
    moved = POSITIVE | {"parent_start_frame": 301}
    data = write(tmp_path, unannotated, [POSITIVE, NEGATIVE, moved])
    with pytest.raises(AnnotationInvalid, match=r"row 2 .*unique_id.*row 0's"):
        data.changes("test_unannotated")


def test_labelled_rows_with_one_id_all_count_and_the_repetition_is_told_once(tmp_path, caplog):
    moved = POSITIVE | {"parent_start_frame": 302}
    data = write(tmp_path, OSCC, [POSITIVE, NEGATIVE, POSITIVE, moved])
    records = data.changes("train")
    assert [r.start_frame for r in records] == [300, 600, 300, 302]
    assert [r.unique_id for r in records].count(POSITIVE["unique_id"]) == 3
    (said,) = caplog.messages
    assert "2 of 4 rows repeat the unique_id of an earlier row, 1 of them word for word" in said
    assert "fho_oscc-pnr_train.json, row 2 " in said


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


@pytest.mark.parametrize(
    ("frame", "kept"), [(299, None), (300, 300), (480, 480), (481, None), (9000, None)]
)
def test_a_keyframe_outside_its_segment_is_no_keyframe_and_that_is_said(
    tmp_path, caplog, frame, kept
):
    rows = [POSITIVE, NEGATIVE, POSITIVE | {"unique_id": "other", "parent_pnr_frame": frame}]
    records = write(tmp_path, OSCC, rows).changes("train")
    assert [r.state_change for r in records] == [True, False, True]
    assert records[2].pnr_frame == kept
    tracks = Tracks.join([make_track(900, video_id="v")])
    assert keyframe_samples(records, tracks).pnr_frame.tolist() == [390, *([kept] if kept else [])]
    if kept is None:
        (said,) = caplog.messages
        assert "1 of 3 rows have a change of state and no keyframe inside" in said
        assert "fho_oscc-pnr_train.json, row 2 " in said
        assert f"expected a frame from 300 to 480, got {{'parent_pnr_frame': {frame}" in said
    else:
        assert caplog.messages == []


def test_a_positive_without_any_keyframe_keeps_its_change_of_state(tmp_path, caplog):
    row = without(POSITIVE, "parent_pnr_frame", "clip_pnr_frame")
    record = write(tmp_path, OSCC, [row]).changes("train")[0]
    assert (record.state_change, record.pnr_frame) == (True, None)
    assert "PNR leaves them out" in caplog.text


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        ({"verb": "c_(x,_y)", "verb_label": 2}, True),
        ({"verb": "c", "verb_label": 2}, True),  # without its synonyms
        ({"verb": " C _(x)", "verb_label": 2}, True),
        ({"verb": None}, True),
        ({"verb": "c", "verb_label": None}, True),
        ({"verb": "c"}, False),
        ({"verb": "a", "verb_label": 2}, False),
        ({"noun": "d"}, False),
        ({"verb": 7}, False),
    ],
)
def test_a_label_is_the_taxonomys_name_of_the_rows_text(tmp_path, told, is_right):
    data = write(tmp_path, LTA, [ACTION | {"action_idx": 1}, ACTION | told])
    if is_right:
        assert len(data.actions("train")) == 2
        return
    (space,) = told.keys() - {"verb_label"}
    with pytest.raises(
        AnnotationInvalid,
        match=rf"train\.json, row 1 \(.*\): {space}: expected .* name of {space}_label .*, got "
        rf"{told[space]!r}\. 1 of 2 rows do not agree with fho_lta_taxonomy\.json",
    ):
        data.actions("train")


@pytest.mark.parametrize("space", ["verbs", "nouns"])
def test_a_reversed_taxonomy_is_refused(tmp_path, space):
    rows = [
        ACTION | {"action_idx": i, "verb": "abc"[i], "verb_label": i, "noun": "defg"[i],
                  "noun_label": i}
        for i in range(3)
    ]  # fmt: skip
    data = write(tmp_path, LTA, rows)
    assert len(data.actions("train")) == 3
    reversed_ = {**TAXONOMY, space: TAXONOMY[space][::-1]}
    (data.annotations / "fho_lta_taxonomy.json").write_text(json.dumps(reversed_))
    with pytest.raises(AnnotationInvalid, match=r"fho_lta_train\.json, row 0 "):
        data.actions("train")


def test_null_labels_are_counted_aloud_once_a_field(tmp_path, caplog):
    rows = [ACTION | {"action_idx": i, "verb_label": None} for i in range(3)]
    write(tmp_path, LTA, [ACTION | {"action_idx": 5}, *rows]).actions("train")
    (said,) = caplog.messages
    assert "3 of 4 rows have no verb_label" in said
    assert "fho_lta_train.json, row 1 " in said
    caplog.clear()
    write(tmp_path, OSCC, [NEGATIVE, POSITIVE | {"state_change": None}]).changes("train")
    (said,) = caplog.messages
    assert "1 of 2 rows have no state_change" in said


def test_only_the_files_of_the_tasks_asked_for_are_opened(tmp_path):
    data = write(tmp_path, LTA, [ACTION])
    records = data.read("train", ("lta", "ar"))
    assert (len(records.actions), records.changes, records.videos) == (1, [], ["v"])
    with pytest.raises(AnnotationInvalid, match=r"fho_oscc-pnr_train\.json is not there"):
        data.read("train", ("ar", "pnr"))
    data = write(tmp_path / "other", OSCC, [NEGATIVE])
    records = data.read("train", ("oscc",))
    assert (records.actions, len(records.changes), records.videos) == ([], 1, ["v"])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"3", b'{"clips": 3}', b"[3]", b"\xff", b"[" * 9000]
)
def test_files_that_hold_no_rows_are_refused_by_name(tmp_path, content):
    data = write(tmp_path, LTA, [])
    (data.annotations / LTA).write_bytes(content)
    with pytest.raises(AnnotationInvalid, match="fho_lta_train"):
        data.actions("train")


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
    assert data.num_frames == {"v": 900}


def test_windows_of_a_clip_follow_ranks_even_where_indices_have_gaps(tmp_path):
    bare = without(ACTION, "verb", "noun")
    rows = [bare | {"action_idx": 3 * i, "verb_label": i % 3} for i in range(22)]
    actions = write(tmp_path, LTA, rows).actions("train")
    assert list(group_by_clip(actions)) == [list(range(22))]
    tracks = Tracks.join([make_track(600, video_id="v")])
    samples = anticipation_samples(actions, tracks)
    assert samples.names == ["c_3"]  # the index the file has, of the last observed action
    assert samples.labels["verb"][0].tolist() == [i % 3 for i in range(2, 22)]


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_whole_numbers_come_back_as_they_are(value):
    row = Row({"n": value, "f": float(value)}, "f.json", 0)
    assert row.whole("n") == value
    assert row.whole("f") == int(float(value))
