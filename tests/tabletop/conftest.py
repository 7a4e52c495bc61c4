"""A tiny world, written once, and the scripts of the default one."""

import pytest

from tabletop.files.world import write_world
from tabletop.story.recipes import SPLITS
from tabletop.story.script import WorldConfig, write_script

TINY = WorldConfig(
    seed=3,
    train_videos=1,
    val_videos=1,
    test_videos=1,
    actions_per_video=(3, 3),
    width=64,
    height=48,
)


@pytest.fixture(scope="session")
def tiny_config():
    return TINY


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, TINY, workers=1)
    return root


@pytest.fixture(scope="session")
def default_scripts():
    config = WorldConfig()
    return [
        write_script(config, split, i) for split in SPLITS for i in range(config.videos_of(split))
    ]
