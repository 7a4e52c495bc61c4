from pathlib import Path

import pytest
import torch

from extract.contract import TABLETOP, FeatureContract
from extract.encoders.load import encoder_spec
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from tests.extract.support.clips import trim_by_copy, write_numbered
from weights.bundle import Bundle, save_bundle
from weights.bundle.manifest import Manifest

TINY_SWIN = SwinConfig((2, 8, 8), 6, (2, 2), (1, 2), (2, 3, 4))


@pytest.fixture(autouse=True)
def restored_random_state():
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.random.set_rng_state(state)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder of numbered clips, 64 x 48 pixels, made once."""
    folder = tmp_path_factory.mktemp("clips")
    write_numbered(folder / "plain.mp4", 100, options={"bf": "3", "g": "40"})
    write_numbered(
        folder / "index-first.mp4",
        100,
        options={"g": "10"},
        container_options={"movflags": "faststart"},
    )
    write_numbered(folder / "all-in-order.mp4", 100, options={"g": "100", "bf": "0"})
    trim_by_copy(folder / "all-in-order.mp4", folder / "trimmed.mp4", 30)
    return folder


@pytest.fixture
def tiny_contract() -> FeatureContract:
    """16 frames of 48 x 64 pixels: 8 x 6 x 8 tokens in the tiny trunk."""
    values = TABLETOP.to_dict() | {"short_side": 48, "crop_height": 48, "crop_width": 64}
    return FeatureContract.from_dict(values)


@pytest.fixture
def tiny_encoder(tiny_contract) -> TorchEncoder:
    return TorchEncoder("tiny", TINY_SWIN, tiny_contract)


@pytest.fixture
def bundle(tmp_path, tiny_encoder) -> Path:
    """A bundle that holds the tiny encoder."""
    manifest = Manifest(
        name="tiny",
        version="1",
        encoder=encoder_spec(tiny_encoder),
        model={},
        backbones={},
        skills={},
        label_spaces={},
    )
    save_bundle(
        Bundle(manifest, tiny_encoder.state_dict(), {}, {}, {"p": torch.zeros(1)}),
        tmp_path / "bundle",
    )
    return tmp_path / "bundle"


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    (folder / "deeper").mkdir(parents=True)
    write_numbered(folder / "one.mp4", 50)
    write_numbered(folder / "deeper" / "two.mkv", 40)
    (folder / "notes.txt").write_text("no video")
    return folder
