import numpy as np
import pytest

from tabletop.motion.scene import Scene
from tabletop.story.script import WorldConfig, rng_of, write_script

CONFIG = WorldConfig()


@pytest.fixture(scope="module", params=[("train", 1), ("val", 0), ("test", 2)])
def staged(request):
    split, index = request.param
    script = write_script(CONFIG, split, index)
    return script, Scene(script, rng_of(CONFIG, split, index, 2), fps=CONFIG.fps)


def test_the_state_flips_exactly_at_the_key_frame_of_changing_actions(staged):
    script, scene = staged
    for action in script.actions:
        before, after = scene.state_at(action.key - 1), scene.state_at(action.key)
        assert (before != after) == action.changes_state
        if action.change is not None:
            thing, flag, value = action.change
            assert before[thing][flag] != after[thing][flag] == value


def test_the_state_only_flips_at_key_frames(staged):
    script, scene = staged
    keys = {action.key for action in script.actions if action.changes_state}
    frames = range(1, script.num_frames)
    flips = {f for f in frames if scene.state_at(f) != scene.state_at(f - 1)}
    assert flips == keys


def test_nothing_jumps_from_one_frame_to_the_next(staged):
    script, scene = staged
    last = None
    for frame in range(script.clip_start, script.num_frames):
        moment = scene.at(frame)
        now = {t.noun: (t.x, t.y) for t in moment.still + moment.live}
        now |= {"left": moment.hands[0], "right": moment.hands[1], "camera": moment.camera}
        if last is not None:
            for name, place in now.items():
                assert np.hypot(*np.subtract(place, last[name])) < 0.16, (frame, name)
        last = now


def test_every_thing_is_on_the_table_all_the_time(staged):
    script, scene = staged
    for frame in range(0, script.num_frames, 17):
        moment = scene.at(frame)
        assert sorted(t.noun for t in moment.still + moment.live) == sorted(script.nouns)


def test_a_hand_is_at_the_thing_at_the_key_moment(staged):
    script, scene = staged
    for action in script.actions:
        moment = scene.at(action.key)
        thing = next(t for t in moment.live if t.noun == action.noun)
        reach = [np.hypot(thing.x - x, thing.y - y) for x, y in moment.hands]
        assert min(reach) < 0.26, (action.verb, action.noun)
