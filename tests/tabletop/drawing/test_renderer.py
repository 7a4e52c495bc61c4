import dataclasses

import numpy as np

from tabletop.files.world import make_renderer
from tabletop.story.script import write_script


def test_the_same_config_gives_the_same_frames(tiny_config):
    script = write_script(tiny_config, "train", 0)
    first, second = (make_renderer(script, tiny_config) for _ in range(2))
    second.frame(10)  # drawing out of order changes nothing
    for index in (300, 301, 400):
        np.testing.assert_array_equal(first.frame(index), second.frame(index))


def test_splits_look_different(tiny_config):
    frames = [
        make_renderer(write_script(tiny_config, split, 0), tiny_config).frame(0)
        for split in ("train", "val", "test")
    ]
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 5
    assert np.abs(frames[0].astype(int) - frames[2]).mean() > 5


def test_a_change_can_be_seen(tiny_config):
    script = write_script(dataclasses.replace(tiny_config, actions_per_video=(12, 12)), "train", 0)
    renderer = make_renderer(script, tiny_config)
    action = next(a for a in script.actions if a.changes_state)
    before, after = renderer.frame(action.start - 2), renderer.frame(action.end + 2)
    assert np.abs(before.astype(int) - after).max() > 40
