"""Features of transformers' models equal those of the library's own processor and model."""

import json
import shutil

import numpy as np
import pytest
import torch

from extract.encoders.library import transformers_models
from extract.encoders.load import encoder_from_spec, encoder_spec, load_named_encoder
from extract.features.extractor import Extractor
from extract.runtime.frame_batches import SharedFrames
from extract.runtime.precision import in_precision
from tests.extract.encoders.library.models import card, sampled, save_vit_without_pooler

pytestmark = pytest.mark.slow(30)


def loaded(folder, options=""):
    return load_named_encoder(f"hf:{folder}{options}")


def of_video_model(folder, windows):
    """Mean token of V-JEPA 2's encoder."""
    from transformers import AutoModel, AutoVideoProcessor

    processor = AutoVideoProcessor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = [processor(videos=[window], return_tensors="pt") for window in windows]
        return torch.cat([model.get_vision_features(**i).mean(1) for i in inputs])


def of_image_model(folder, windows):
    """SigLIP's own image embedding, the mean of a window's frames."""
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = [processor(images=list(window), return_tensors="pt") for window in windows]
        return torch.stack([model.get_image_features(**i).pooler_output.mean(0) for i in inputs])


def test_vjepa2_equals_the_library(vjepa2, video):
    encoder = loaded(vjepa2)
    contract = encoder.contract
    assert (contract.window_frames, contract.stride_frames, contract.frame_step) == (16, 8, 2)
    assert (encoder.name, encoder.dim, contract.resize) == ("vjepa2", 24, "library")
    track = Extractor(encoder).from_file(video)
    expected = of_video_model(vjepa2, sampled(video, contract))
    assert len(track.features) == 11  # starts 0, 8, ..., 72 of 90 frames, and 74
    assert track.start_s[-1] == 74 / 30
    torch.testing.assert_close(track.features, expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.1


def test_siglip2_equals_the_library(siglip2, video):
    encoder = loaded(siglip2)
    contract = encoder.contract
    assert (contract.window_frames, contract.stride_frames, contract.frame_step) == (32, 16, 8)
    assert contract.mean == (0.5, 0.5, 0.5)
    track = Extractor(encoder).from_file(video)
    expected = of_image_model(siglip2, sampled(video, contract))
    assert len(track.features) == 5  # starts 0, 16, 32, 48 of 90 frames, and 58
    torch.testing.assert_close(track.features, expected, rtol=0, atol=1e-5)
    assert not any("text" in key for key in encoder.state_dict())


def test_windows_of_whole_frames_and_of_prepared_ones_have_the_same_features(vjepa2, video):
    encoder = loaded(vjepa2, ",frame_step=1,stride_frames=40")
    assert (encoder.contract.window_frames, encoder.contract.stride_frames) == (8, 40)
    windows = np.stack(sampled(video, encoder.contract))
    assert len(windows) == 4
    whole = encoder.encode(torch.from_numpy(windows))
    prepared = [torch.from_numpy(encoder.prepare(window)) for window in windows]
    assert prepared[0].shape == (8, 32, 32, 3)
    assert torch.equal(whole, encoder.encode(torch.stack(prepared)))
    with pytest.raises(ValueError, match="or whole uint8 ones"):
        encoder.encode(torch.zeros(1, 8, 16, 16, 3))


def test_a_layer_and_its_pooling_can_be_chosen(siglip2, vjepa2, video):
    from transformers import AutoModel

    encoder = loaded(siglip2, ",layer=2,pooling=first,window_frames=8")
    window = np.stack(sampled(video, encoder.contract))[:1]
    frames = torch.from_numpy(encoder.prepare(window[0])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        made = AutoModel.from_pretrained(siglip2).vision_model(frames, output_hidden_states=True)
    expected = made.hidden_states[2][:, 0].mean(0)
    torch.testing.assert_close(encoder.encode(torch.from_numpy(window))[0], expected)
    last, second = loaded(vjepa2), loaded(vjepa2, ",layer=2")
    assert last.fingerprint != second.fingerprint
    window = np.stack(sampled(video, second.contract))[:1]
    frames = torch.from_numpy(second.prepare(window[0])).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        model = AutoModel.from_pretrained(vjepa2)
        made = model(frames, skip_predictor=True, output_hidden_states=True)
    expected = made.hidden_states[2].mean(1)
    torch.testing.assert_close(second.encode(torch.from_numpy(window)), expected)
    with pytest.raises(ValueError, match="has fewer layers"):
        loaded(siglip2, ",layer=9")


def test_a_bundle_entry_makes_the_same_encoder_from_its_tensors_alone(vjepa2, siglip2, video):
    for folder in (vjepa2, siglip2):
        encoder = loaded(folder)
        spec = json.loads(json.dumps(encoder_spec(encoder)))
        assert spec["origin"]["licence"] in ("mit", "apache-2.0")
        rebuilt = encoder_from_spec(spec, encoder.state_dict())
        assert (rebuilt.fingerprint, rebuilt.origin) == (encoder.fingerprint, encoder.origin)
        window = torch.from_numpy(np.stack(sampled(video, encoder.contract))[:2])
        assert torch.equal(rebuilt.encode(window), encoder.encode(window))
    spec["config"]["processor"]["image_processor_type"] = "AutoModel"
    with pytest.raises(ValueError, match="no processor 'AutoModel'"):
        encoder_from_spec(spec | {"fingerprint": None}, encoder.state_dict()).prepare(
            np.zeros((1, 8, 8, 3), np.uint8)
        )
    spec["config"]["model"]["auto_map"] = {"AutoModel": "code.Model"}
    with pytest.raises(ValueError, match="never run"):
        encoder_from_spec(spec, encoder.state_dict())


def test_a_model_without_a_trained_pooler_gives_the_mean_token(tmp_path, video, vjepa2):
    from transformers import AutoModel

    folder = card(save_vit_without_pooler(tmp_path / "vit"), "apache-2.0")
    encoder = loaded(folder)
    assert encoder.fingerprint == loaded(folder).fingerprint
    window = np.stack(sampled(video, encoder.contract))[:1]
    frames = torch.from_numpy(encoder.prepare(window[0])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        tokens = AutoModel.from_pretrained(folder, add_pooling_layer=False)(frames)
    expected = tokens.last_hidden_state.mean((0, 1))
    torch.testing.assert_close(encoder.encode(torch.from_numpy(window))[0], expected)
    for place in (folder, vjepa2):
        with pytest.raises(ValueError, match="no trained pooled output of its own: take mean"):
            loaded(place, ",pooling=pooled")


def test_frames_shared_by_windows_are_sent_to_a_device_once(vjepa2, video):
    encoder = loaded(vjepa2)
    windows = np.stack(sampled(video, encoder.contract))[:3]
    step = encoder.contract.stride_frames // encoder.contract.frame_step
    numbered = [
        list(enumerate(encoder.prepare(window), start=step * index))
        for index, window in enumerate(windows)
    ]
    shared = SharedFrames(encoder)(numbered)
    assert torch.equal(shared, encoder.encode(torch.from_numpy(windows)))


def test_bf16_is_another_encoder_with_nearly_the_same_features(siglip2):
    encoder = loaded(siglip2)
    reduced = in_precision(encoder, "bf16")
    assert reduced.fingerprint != encoder.fingerprint
    assert reduced.origin == encoder.origin


def test_lost_tensors_and_other_models_are_refused(vjepa2, siglip2, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "cut"
    shutil.copytree(vjepa2, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layernorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack 1 tensors, such as encoder.layernorm.weight"):
        loaded(folder)
    whole = (vjepa2 / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="cut: "):
        loaded(folder)
    (folder / "model.safetensors").write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    for change, why in (
        ({"model_type": "bert"}, "expected a model of images or videos|lack"),
        ({"model_type": "nonsense"}, "Unrecognized model"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"use_timm_backbone": True}, "timm:NAME"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=why):
            loaded(folder)


def test_a_processor_whose_size_follows_the_video_is_refused(siglip2, tmp_path):
    from transformers import CLIPImageProcessor

    folder = tmp_path / "sizes"
    shutil.copytree(siglip2, folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, do_center_crop=False).save_pretrained(folder)
    with pytest.raises(ValueError, match="expected one size of all videos"):
        loaded(folder)


def test_a_missing_library_names_the_extra(monkeypatch, siglip2):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(transformers_models.LibraryMissing, match="extra `encoders`"):
        loaded(siglip2)
