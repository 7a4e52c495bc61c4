"""Features of timm's models equal those of its own transform and model."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from extract.encoders.library.timm_models import TimmConfig
from extract.encoders.library.trunk import LibraryMissing
from extract.encoders.load import encoder_from_spec, encoder_spec, load_named_encoder
from extract.features.extractor import Extractor
from tests.extract.encoders.library.models import PE_CORE, card, sampled, save_timm

pytestmark = pytest.mark.slow(20)


@pytest.fixture(scope="module")
def pe_core(tmp_path_factory):
    name, arguments = PE_CORE
    folder = save_timm(tmp_path_factory.mktemp("models") / "pe", name, **arguments)
    return card(folder, "apache-2.0")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return card(save_timm(tmp_path_factory.mktemp("models") / "resnet", "test_resnet"), "mit")


def of_the_library(folder, windows):
    """The model's own pooled output before its classifier, the mean of a window's frames."""
    import timm
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        return torch.stack(
            [
                model.forward_head(
                    model.forward_features(
                        torch.stack([transform(Image.fromarray(frame)) for frame in window])
                    ),
                    pre_logits=True,
                ).mean(0)
                for window in windows
            ]
        )


@pytest.mark.parametrize(("which", "width"), [("pe_core", 32), ("resnet", 96)])
def test_features_equal_the_librarys(request, which, width, video):
    folder = request.getfixturevalue(which)
    encoder = load_named_encoder(f"timm:{folder}")
    contract = encoder.contract
    assert (encoder.dim, contract.window_frames, contract.frame_step) == (width, 32, 8)
    track = Extractor(encoder).from_file(video)
    expected = of_the_library(folder, sampled(video, contract))
    assert len(track.features) == 5  # starts 0, 16, 32, 48 of 90 frames, and 58
    torch.testing.assert_close(track.features, expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-3
    assert not any(key.startswith(("model.head.", "model.fc.")) for key in encoder.state_dict())


def test_a_bundle_entry_makes_the_same_encoder_from_its_tensors_alone(pe_core, video):
    encoder = load_named_encoder(f"timm:{pe_core},stride_frames=32,window_frames=8,frame_step=2")
    assert encoder.contract.window_shape == (4, 64, 64)
    spec = json.loads(json.dumps(encoder_spec(encoder)))
    rebuilt = encoder_from_spec(spec, encoder.state_dict())
    assert rebuilt.fingerprint == encoder.fingerprint
    window = torch.from_numpy(np.stack(sampled(video, encoder.contract))[:2])
    assert torch.equal(rebuilt.encode(window), encoder.encode(window))


def test_a_layer_and_its_pooling_can_be_chosen(pe_core, video):
    import timm

    model = timm.create_model(f"local-dir:{pe_core}", pretrained=True).eval()
    frames = np.stack(sampled(video, load_named_encoder(f"timm:{pe_core}").contract))[:1]
    for options, of in (
        ("layer=1", lambda x: model.forward_intermediates(x, indices=[0])[1][0].mean((2, 3))),
        ("pooling=first", lambda x: model.forward_features(x)[:, 0]),
        ("pooling=mean", lambda x: model.forward_features(x).mean(1)),
    ):
        encoder = load_named_encoder(f"timm:{pe_core},{options}")
        pixels = torch.from_numpy(encoder.prepare(frames[0])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = of(pixels).mean(0)
        torch.testing.assert_close(encoder.encode(torch.from_numpy(frames))[0], expected)
    for options, why in (
        ("layer=3", "out of range"),
        ("layer=1,pooling=first", "without a class token"),
    ):
        with pytest.raises(ValueError, match=why):
            load_named_encoder(f"timm:{pe_core},{options}")


def test_weights_of_an_architecture_lie_in_a_folder_of_its_name(pe_core, resnet, tmp_path):
    folder = tmp_path / "test_resnet"
    folder.mkdir()
    shutil.copy(resnet / "model.safetensors", folder)
    named = load_named_encoder("timm:test_resnet", weights=tmp_path, accept_license=True)
    window = torch.randint(256, (1, 4, 80, 96, 3), dtype=torch.uint8)
    whole = load_named_encoder(f"timm:{resnet}")
    assert torch.equal(named.encode(window), whole.encode(window))
    shutil.copy(pe_core / "model.safetensors", folder)
    with pytest.raises(ValueError, match=r"test_resnet: .*lacks \d+, such as bn1.bias and has"):
        load_named_encoder("timm:test_resnet", weights=tmp_path, accept_license=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"architecture": "hf-hub:someone/something"}, "timm has no architecture 'hf-hub:"),
        ({"architecture": None}, "timm has no architecture None"),
        ({"model_args": {"checkpoint_path": "/x.pth"}}, "arguments checkpoint_path are not taken"),
        ({"model_args": {"no_such": 1}}, "no_such"),
    ],
    ids=str,
)
def test_what_would_load_something_else_is_refused(resnet, tmp_path, change, why):
    folder = tmp_path / "changed"
    shutil.copytree(resnet, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=why):
        load_named_encoder(f"timm:{folder}")


def test_damaged_and_misnamed_files_are_refused(resnet, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(resnet, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="damaged: "):
        load_named_encoder(f"timm:{folder}")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(ValueError, match=r"damaged: .*model.safetensors"):
        load_named_encoder(f"timm:{folder}")


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(LibraryMissing, match="timm, which is not installed"):
        TimmConfig("last", "pooled", 8, "test_resnet", {}, {}).build()
