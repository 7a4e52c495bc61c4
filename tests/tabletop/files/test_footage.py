import dataclasses

import numpy as np
import pytest

from tabletop.drawing.renderer import ACTED_ON, HAND
from tabletop.files import footage as module
from tabletop.files.footage import Footage, FootageConfig
from tabletop.files.world import make_renderer
from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import write_script


@pytest.fixture(scope="module")
def scripted(tiny_config):
    script = write_script(tiny_config, "train", 0)
    return script, make_renderer(script, tiny_config)


@pytest.fixture(scope="module")
def config(tiny_config):
    world = dataclasses.replace(tiny_config, train_videos=2, actions_per_video=(2, 2))
    return FootageConfig(world, frame_step=2, map_every=4, map_size=(24, 32))


@pytest.fixture(scope="module")
def footage(tmp_path_factory, config):
    written = Footage(tmp_path_factory.mktemp("footage"), config)
    written.write(workers=1, progress=lambda *_: None)
    return written


def test_only_things_of_the_script_and_hands_are_shown(scripted):
    script, renderer = scripted
    maps = np.stack([renderer.labels(i, 64, 48) for i in range(0, script.num_frames, 40)])
    ids = set(np.unique(maps % ACTED_ON).tolist())
    assert ids - {0, HAND} <= {1 + NOUNS.index(noun) for noun in script.nouns}
    assert HAND in ids


def test_a_thing_is_acted_on_during_its_action_only(scripted):
    script, renderer = scripted
    seen = set()
    for action in script.actions:
        for frame in range(action.start, action.end, 10):
            labels = renderer.labels(frame, 64, 48)
            acted_on = set((labels[labels >= ACTED_ON] - ACTED_ON).tolist())
            assert acted_on <= {1 + NOUNS.index(action.noun)}
            seen |= {action.noun} if acted_on else set()
        assert (renderer.labels(action.end + 2, 64, 48) < ACTED_ON).all()
    assert seen == {action.noun for action in script.actions}


def test_a_map_lies_over_its_frame(scripted, tiny_config):
    """Where a map says hand, the frame has the hand's colour more than elsewhere."""
    script, renderer = scripted
    action = script.actions[0]
    size = (tiny_config.width, tiny_config.height)
    there = (action.start + action.end) // 2
    frame = renderer.frame(there).astype(int)
    hand = renderer.labels(there, *size) == HAND
    table = renderer.labels(there, *size) == 0
    skin = np.median(frame[hand], axis=0)
    distance = np.abs(frame - skin).sum(axis=-1)
    assert np.median(distance[hand]) < np.median(distance[table])


def test_frames_maps_and_actions_lie_on_one_clock(footage, config):
    for scene in footage.scenes:
        frames, maps = footage.frames(scene), footage.label_maps(scene)
        assert frames.shape == (4 * len(maps), config.world.height, config.world.width, 3)
        assert maps.shape[1:] == config.map_size
        assert frames.dtype == maps.dtype == np.uint8
    for record in footage.actions:
        maps = footage.label_maps(record.video_uid)
        inside = maps[record.start_frame // 4 + 1 : record.end_frame // 4]
        shown = set((inside[inside >= ACTED_ON] - ACTED_ON).tolist())
        assert shown == {1 + record.noun}
        assert 0 <= record.verb < len(VERBS)


def test_a_kept_frame_is_the_frame_drawn_larger_and_averaged(footage, config):
    script = write_script(config.world, "train", 1)
    renderer = make_renderer(script, config.world.scaled(2))
    whole = renderer.frame(script.interval_start + 2 * 7).astype(float)
    mean = (whole[::2, ::2] + whole[1::2, ::2] + whole[::2, 1::2] + whole[1::2, 1::2]) / 4
    assert np.abs(footage.frames(script.video_uid)[7] - mean).max() < 1


def test_a_finished_scene_is_not_drawn_again_and_half_of_one_is(footage, config, monkeypatch):
    first, second = footage.scenes
    folder = footage._folder
    before = footage.frames(second).copy()
    (folder / f"{second}.maps.npy").unlink()
    drawn = []
    make = module.make_renderer
    monkeypatch.setattr(module, "make_renderer", lambda s, c: drawn.append(s) or make(s, c))
    footage.write(workers=1, progress=lambda *_: None)
    assert [script.video_uid for script in drawn] == [second]
    assert np.array_equal(footage.frames(second), before)
    footage.write(workers=1, progress=pytest.fail)


def test_footage_shares_no_scene_with_a_world(config, tiny_config):
    from model.train.presets import TABLETOP

    ours = {write_script(TABLETOP.footage.world, "train", i).video_uid for i in range(8)}
    world = TABLETOP.world
    theirs = {
        write_script(world, split, i).video_uid
        for split in ("train", "val", "test")
        for i in range(world.videos_of(split))
    }
    assert not ours & theirs
