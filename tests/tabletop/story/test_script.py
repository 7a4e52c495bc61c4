from collections import Counter

import numpy as np

from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import SMOKE, WorldConfig, write_script


def test_the_default_world_has_enough_verbs_nouns_and_pairs_with_a_long_tail(default_scripts):
    train = [a for s in default_scripts if s.split == "train" for a in s.actions]
    pairs = Counter((a.verb, a.noun) for a in train)
    assert {a.verb for a in train} == set(VERBS)
    assert {a.noun for a in train} == set(NOUNS)
    assert len(VERBS) >= 10
    assert len(NOUNS) >= 12
    assert len(pairs) >= 60
    counts = sorted(pairs.values())
    assert counts[-1] >= 8 * counts[len(counts) // 4]


def test_at_least_half_of_the_actions_change_nothing(default_scripts):
    actions = [action for script in default_scripts for action in script.actions]
    share = np.mean([action.changes_state for action in actions])
    assert 0.3 < share <= 0.5


def test_the_same_seed_tells_the_same_story_and_another_seed_another():
    config, other = WorldConfig(seed=1), WorldConfig(seed=2)
    assert write_script(config, "val", 0) == write_script(config, "val", 0)
    assert write_script(config, "val", 0).actions != write_script(other, "val", 0).actions
    assert write_script(config, "val", 0).actions != write_script(config, "val", 1).actions


def test_every_clip_gives_several_windows_of_two_observed_and_twenty_future(default_scripts):
    assert min(len(script.actions) for script in default_scripts) >= 26
    assert SMOKE.actions_per_video[0] >= 23


def test_actions_come_one_at_a_time_five_to_seven_seconds_apart(default_scripts):
    gaps = []
    for script in default_scripts:
        starts = [action.start for action in script.actions]
        ends = [action.end for action in script.actions]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
        assert all(a.start < a.key < a.end for a in script.actions)
        gaps += [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert 5.0 <= np.mean(gaps) / 30 <= 7.0


def test_the_canonical_clip_starts_inside_the_video(default_scripts):
    for script in default_scripts:
        assert 30 <= script.clip_start <= 240
        assert script.clip_start < script.interval_start < script.interval_end < script.clip_end
        assert script.clip_end <= script.num_frames
        assert script.video_uid != script.clip_uid
    uids = [uid for script in default_scripts for uid in (script.video_uid, script.clip_uid)]
    assert len(set(uids)) == len(uids)
