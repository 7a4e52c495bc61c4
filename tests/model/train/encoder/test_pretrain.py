import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from extract.contract import TABLETOP
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from model.config import FitConfig
from model.data.records import ActionRecord
from model.train.encoder.pretrain import (
    PretrainConfig,
    Pretraining,
    pretrain_on_clips,
    pretrain_on_images,
)
from model.train.encoder.views import ViewConfig

ACTED_ON = 128
CONTRACT = dataclasses.replace(TABLETOP, short_side=32, crop_height=32, crop_width=32)
SWIN = SwinConfig((4, 8, 8), 12, (1, 1), (2, 2), (2, 2, 2))
STILL = ViewConfig(map_size=(8, 8), shift=1, zoom=0.0, gain=0.0, swap=0.0)
CONFIG = PretrainConfig(
    images=FitConfig(epochs=4, learning_rate=4e-3, batch_size=16),
    clips=FitConfig(epochs=12, learning_rate=4e-3, batch_size=8),
    image_shard=8,
    views=STILL,
)


def make_world():
    """A red square is noun 0, a blue one noun 1; verb 1 moves it, verb 0 does not."""
    rng = np.random.default_rng(0)
    frames, maps, actions = {}, {}, []
    for i in range(16):
        verb, noun = i % 2, i // 2 % 2
        video = rng.integers(90, 110, (48, 32, 32, 3)).astype(np.uint8)
        shown = np.zeros((12, 8, 8), np.uint8)
        for t in range(48):
            x = (t // 2) % 24 if verb else 8
            video[t, 8:16, x : x + 8] = (250, 20, 20) if noun == 0 else (20, 20, 250)
            shown[t // 4, 2:4, x // 4 : x // 4 + 2] = ACTED_ON + 1 + noun
        name = f"video {i}"
        frames[name], maps[name] = video, shown
        actions.append(ActionRecord(name, name, i, 0, 48, verb, noun))
    return SimpleNamespace(
        scenes=list(frames),
        actions=actions,
        frames=frames.__getitem__,
        label_maps=maps.__getitem__,
    )


@pytest.fixture(scope="module")
def world():
    return make_world()


def train(world, config=CONFIG):
    torch.manual_seed(0)
    model = Pretraining(SWIN, {"verb": 2, "noun": 2})
    pretrain_on_images(model, world, CONTRACT, config=config, seed=0)
    pretrain_on_clips(model, world, CONTRACT, config=config, seed=0)
    return model


@pytest.mark.slow
def test_features_tell_the_nouns_apart(world):
    model = train(world)
    encoder = TorchEncoder("tiny", SWIN, CONTRACT, model.trunk)
    windows = np.stack([world.frames(record.video_uid)[:16] for record in world.actions])
    features = encoder.encode(torch.from_numpy(windows)).clone()
    found = model.outputs["noun"](features).argmax(dim=-1)
    assert found.tolist() == [record.noun for record in world.actions]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_threads(world):
    varied = dataclasses.replace(
        CONFIG,
        images=dataclasses.replace(CONFIG.images, epochs=1),
        clips=dataclasses.replace(CONFIG.clips, epochs=1),
        views=ViewConfig(map_size=(8, 8), shift=2),
    )
    before = torch.get_num_threads()
    trained = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        trained.append(train(world, varied).state_dict())
    torch.set_num_threads(before)
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name
