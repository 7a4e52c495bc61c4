import numpy as np
import pytest

from model.data.tabletop import label_maps
from model.data.tabletop.label_maps import read_label_map, write_label_maps
from model.data.tabletop.render import ACTED_ON, HAND
from model.data.tabletop.rules import NOUNS
from model.data.tabletop.script import write_script
from model.data.tabletop.write import make_renderer


@pytest.fixture(scope="module")
def scripted(tiny_config):
    script = write_script(tiny_config, "train", 0)
    return script, make_renderer(script, tiny_config)


def write(folder, config, **changes):
    settings = {"every": 8, "size": (24, 32), "workers": 1, "progress": lambda *_: None}
    write_label_maps(folder, config, **{**settings, **changes})


def test_only_things_of_the_script_and_hands_are_shown(scripted, tiny_config):
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
    """Where a map says hand, the frame changes colour as the hand comes and goes."""
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


def test_one_map_for_every_token_and_none_is_drawn_twice(tmp_path, tiny_config, monkeypatch):
    write(tmp_path, tiny_config)
    script = write_script(tiny_config, "train", 0)
    maps = read_label_map(tmp_path, script.video_uid)
    assert maps.shape == (len(range(4, script.num_frames, 8)), 24, 32)
    assert maps.dtype == np.uint8
    monkeypatch.setattr(label_maps, "make_renderer", pytest.fail)
    write(tmp_path, tiny_config)
