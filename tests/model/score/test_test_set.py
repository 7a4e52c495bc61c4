import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.annotations import DataRoot
from model.errors import AnnotationInvalid
from model.score.test_set import AnnotationFolder, ChallengeItem, open_annotations, read_items
from tests.model.support.challenge import make_challenge, write_clips


@pytest.fixture
def root(tmp_path):
    return make_challenge(tmp_path)


def one_clip(folder, count):
    rows = [
        {"video_uid": "v", "clip_uid": "c", "action_idx": i, "clip_parent_start_frame": 1000,
         "action_clip_start_frame": 10 * i, "action_clip_end_frame": 10 * i + 240}
        for i in range(count)
    ]  # fmt: skip
    write_clips(folder / "fho_lta_test_unannotated.json", rows[::-1])
    return open_annotations(folder, "v1")


@given(count=st.integers(0, 60), observed=st.integers(1, 12))
def test_every_window_with_enough_seen_and_twenty_left_is_asked_for(
    tmp_path_factory, count, observed
):
    data = one_clip(tmp_path_factory.mktemp("a"), count)
    asked = {q.id for q in read_items(data, "lta", observed=observed)}
    assert asked == {f"c_{i}" for i in range(count) if i + 1 >= observed and count - (i + 1) >= 20}


def test_the_challenge_asks_from_the_eighth_action_to_the_twentieth_before_the_last(root):
    asked = [q.id for q in read_items(DataRoot(root), "lta")]
    assert asked == ["clip-a_7", "clip-a_8", "clip-a_9", "clip-a_10", "clip-b_7"]


def test_a_window_shows_its_own_clip_in_action_order_in_frames_of_the_full_video(tmp_path):
    question = read_items(one_clip(tmp_path, 28), "lta")[0]
    assert question.segments == tuple((1000 + 10 * i, 1240 + 10 * i) for i in range(8))
    assert question.video_uid == "v"


@pytest.mark.parametrize("task", ["oscc", "pnr"])
def test_every_segment_is_asked_for_in_the_order_of_the_file(root, task):
    path = root / "v1/annotations/fho_oscc-pnr_test_unannotated.json"
    rows = json.loads(path.read_text())["clips"]
    asked = read_items(DataRoot(root), task)
    assert [q.id for q in asked] == [row["unique_id"] for row in rows]
    assert asked[0] == ChallengeItem(
        rows[0]["unique_id"],
        rows[0]["video_uid"],
        ((rows[0]["parent_start_frame"], rows[0]["parent_end_frame"]),),
    )


@pytest.mark.parametrize("task", ["lta", "oscc", "pnr"])
def test_the_root_and_the_folder_of_the_files_ask_for_the_same(root, task):
    by_root = read_items(open_annotations(root, "v1"), task)
    assert by_root == read_items(open_annotations(root / "v1/annotations", "v1"), task)
    assert len(by_root) >= 5


def test_a_folder_of_a_root_is_known_to_be_of_it(root, tmp_path):
    found = open_annotations(root / "v1/annotations")
    assert (type(found), found.root, found.version) == (DataRoot, root, "v1")
    (root / "v1/annotations").rename(tmp_path / "elsewhere")
    assert isinstance(open_annotations(tmp_path / "elsewhere"), AnnotationFolder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"unique_id": "change-3"}, "change-3"), ({"parent_end_frame": 0}, "change-5")],
)
def test_a_test_file_that_cannot_be_answered_is_refused_by_id(root, change, complaint):
    path = root / "v1/annotations/fho_oscc-pnr_test_unannotated.json"
    rows = json.loads(path.read_text())["clips"]
    rows[5] |= change
    write_clips(path, rows)
    with pytest.raises(AnnotationInvalid, match=complaint):
        read_items(DataRoot(root), "oscc")


def test_a_root_gives_the_version_asked_for_else_v1_else_v2(root):
    (root / "v1").rename(root / "v2")
    assert open_annotations(root).annotations == root / "v2/annotations"
    assert len(read_items(open_annotations(root), "oscc")) == 24
    with pytest.raises(AnnotationInvalid) as refused:
        open_annotations(root, "v1")
    assert str(root / "v1/annotations/fho_*.json") in str(refused.value)
    write_clips(root / "v1/annotations/fho_oscc-pnr_test_unannotated.json", [])
    assert read_items(open_annotations(root), "oscc") == []
    assert len(read_items(open_annotations(root, "v2"), "oscc")) == 24


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match="fho_lta_test_unannotated.json"):
        read_items(open_annotations(tmp_path, "v1"), "lta")
