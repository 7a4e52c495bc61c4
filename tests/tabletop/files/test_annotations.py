import pytest

from tabletop.files.annotations import (
    annotate_actions,
    annotate_changes,
    hide_action,
    hide_change,
)
from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import WorldConfig

CONFIG = WorldConfig()
LTA_KEYS = {
    "video_uid", "clip_uid", "clip_id", "action_idx", "verb", "noun", "verb_label", "noun_label",
    *(f"{name}_{edge}_{unit}" for name in ("clip_parent", "interval", "action_clip")
      for edge in ("start", "end") for unit in ("sec", "frame")),
}  # fmt: skip
TEST_CHANGE_KEYS = {
    "unique_id", "clip_id", "video_uid", "parent_start_sec", "parent_end_sec",
    "parent_start_frame", "parent_end_frame",
}  # fmt: skip
CHANGE_KEYS = TEST_CHANGE_KEYS | {
    "clip_uid", "state_change", "clip_start_sec", "clip_end_sec", "clip_start_frame",
    "clip_end_frame",
}  # fmt: skip


@pytest.fixture(scope="module")
def changes(default_scripts):
    return [(s, entry) for s in default_scripts for entry in annotate_changes(s, CONFIG)]


def test_action_entries_have_exactly_the_fields_of_ego4d(default_scripts):
    entry = annotate_actions(default_scripts[0], CONFIG)[0]
    assert set(entry) == LTA_KEYS
    assert set(hide_action(entry)) == LTA_KEYS - {"verb", "noun", "verb_label", "noun_label"}
    assert isinstance(entry["clip_id"], int)


def test_action_windows_are_eight_seconds_inside_the_clip_around_the_motion(default_scripts):
    for script in default_scripts:
        length = script.clip_end - script.clip_start
        entries = annotate_actions(script, CONFIG)
        assert [entry["action_idx"] for entry in entries] == list(range(len(script.actions)))
        for entry, action in zip(entries, script.actions, strict=True):
            start, end = entry["action_clip_start_frame"], entry["action_clip_end_frame"]
            assert 0 <= start < end <= length
            assert end - start == 240
            middle = entry["clip_parent_start_frame"] + (start + end) // 2
            assert action.start <= middle <= action.end
            assert entry["action_clip_start_sec"] * 30 == pytest.approx(start)
            assert VERBS[entry["verb_label"]] == entry["verb"] == action.verb
            assert NOUNS[entry["noun_label"]] == entry["noun"] == action.noun


def test_key_moments_are_off_centre_in_their_windows(default_scripts):
    places = []
    for script in default_scripts:
        for entry, action in zip(annotate_actions(script, CONFIG), script.actions, strict=True):
            start = entry["clip_parent_start_frame"] + entry["action_clip_start_frame"]
            places.append((action.key - start) / 240)
    assert min(places) > 0.2
    assert max(places) < 0.8
    assert sum(abs(place - 0.5) > 0.05 for place in places) > 0.6 * len(places)


def test_change_entries_have_exactly_the_fields_of_ego4d(changes):
    for _, entry in changes:
        extra = {"parent_pnr_frame", "clip_pnr_frame"} if entry["state_change"] else {"pnr_frame"}
        assert set(entry) == CHANGE_KEYS | extra
        assert entry.get("pnr_frame") is None
        assert set(hide_change(entry)) == TEST_CHANGE_KEYS
        assert isinstance(entry["clip_id"], str)
    ids = [entry["unique_id"] for _, entry in changes]
    assert len(set(ids)) == len(ids)


def test_every_pnr_is_a_change_inside_its_segment_and_off_its_edges(changes):
    for script, entry in changes:
        if not entry["state_change"]:
            continue
        start, end = entry["parent_start_frame"], entry["parent_end_frame"]
        keys = [a.key for a in script.actions if a.changes_state]
        assert entry["parent_pnr_frame"] in keys
        assert 0.15 < (entry["parent_pnr_frame"] - start) / (end - start) < 0.85
        assert entry["clip_pnr_frame"] == entry["parent_pnr_frame"] - script.clip_start
        assert entry["clip_start_frame"] == start - script.clip_start


def test_negatives_contain_no_change(changes):
    for script, entry in changes:
        if not entry["state_change"]:
            span = range(entry["parent_start_frame"], entry["parent_end_frame"])
            assert not any(a.changes_state and a.key in span for a in script.actions)


def test_most_positives_contain_exactly_one_change(changes):
    positives = [(s, e) for s, e in changes if e["state_change"]]
    counts = [
        sum(
            a.changes_state and e["parent_start_frame"] <= a.key < e["parent_end_frame"]
            for a in s.actions
        )
        for s, e in positives
    ]
    assert min(counts) == 1
    assert sum(count == 1 for count in counts) > 0.9 * len(counts)


def test_classes_of_segments_are_balanced_in_every_split(changes):
    for split in ("train", "val", "test"):
        labels = [entry["state_change"] for script, entry in changes if script.split == split]
        assert 0.4 < sum(labels) / len(labels) < 0.6


def test_training_segments_are_eight_seconds_and_others_five_to_eight(changes):
    for script, entry in changes:
        length = entry["parent_end_frame"] - entry["parent_start_frame"]
        assert length in (range(240, 241) if script.split == "train" else range(150, 241))
        assert entry["parent_start_sec"] * 30 == pytest.approx(entry["parent_start_frame"])
        assert script.clip_start <= entry["parent_start_frame"]
        assert entry["parent_end_frame"] <= script.clip_end
