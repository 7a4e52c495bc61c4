"""From an mp4 and a fetched checkpoint to features, beside a plain second implementation.

The second one takes torchvision's own network, frames from PyAV, and arithmetic written out here.
"""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from extract.encoders import load
from extract.encoders.load import load_named_encoder
from extract.encoders.omnivore import load_omnivore
from extract.encoders.swin.trunk import OMNIVORE_SWINL
from extract.features.extractor import Extractor
from tests.extract.support.clips import noisy_frames, write_clip
from weights.published.catalogue import PUBLISHED
from weights.published.fetch import fetch

SMALL = replace(OMNIVORE_SWINL, width=6, heads=(1, 2, 3, 6), depths=(1, 2, 2, 1))
NAME = "omnivore-swinl"
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def original():
    """torchvision's network with weights under which every part of it matters."""
    torch.manual_seed(3)
    network = SwinTransformer3d(
        [2, 4, 4], 6, list(SMALL.depths), [1, 2, 3, 6], [8, 7, 7], norm_layer=nn.LayerNorm
    )
    network.head = nn.Identity()
    with torch.no_grad():
        for key, tensor in network.named_parameters():
            if tensor.ndim > 1 and "bias_table" not in key:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
            else:
                tensor.normal_(mean=float("norm" in key and "weight" in key), std=0.3)
    return network.eval()


def under_published_names(network) -> dict[str, torch.Tensor]:
    """The network's tensors as a checkpoint's trunk has them, part by part."""
    found = dict(network.state_dict())
    trunk = {key: found.pop(key) for key in list(found) if not key.startswith("features.")}
    for stage in range(4):
        for block in range(SMALL.depths[stage]):
            theirs, ours = f"layers.{stage}.blocks.{block}.", f"features.{2 * stage}.{block}."
            for part, layer in {
                "norm1": "norm1", "norm2": "norm2", "attn.qkv": "attn.qkv",
                "attn.proj": "attn.proj", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3",
            }.items():  # fmt: skip
                for kind in ("weight", "bias"):
                    trunk[f"{theirs}{part}.{kind}"] = found.pop(f"{ours}{layer}.{kind}")
            for kind in ("bias_table", "index"):
                name = f"attn.relative_position_{kind}"
                trunk[theirs + name] = found.pop(ours + name).reshape(
                    (392, 392) if kind == "index" else (2535, -1)
                )
        if stage < 3:
            for name in ("norm.weight", "norm.bias", "reduction.weight"):
                trunk[f"layers.{stage}.downsample.{name}"] = found.pop(
                    f"features.{2 * stage + 1}.{name}"
                )
    assert not found
    trunk["depth_patch_embed.proj.weight"] = torch.zeros(6, 1, 2, 4, 4)
    for name in ("proj.bias", "norm.weight", "norm.bias"):
        trunk[f"depth_patch_embed.{name}"] = torch.zeros(6)
    return trunk


@pytest.fixture(scope="module")
def encoder(original, tmp_path_factory):
    """The same weights: saved as the checkpoint is, fetched, and loaded by name."""
    weights = tmp_path_factory.mktemp("weights")
    backbone, folder = PUBLISHED[NAME], weights / NAME
    folder.mkdir()
    heads = {"image.weight": torch.zeros(1000, 48), "video.1.bias": torch.zeros(400)}
    checkpoint = {"trunk": under_published_names(original), "heads": heads}
    torch.save(checkpoint, folder / backbone.file)
    fetch(backbone, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(load.LOADERS, NAME, lambda tensors: load_omnivore(tensors, config=SMALL))
        return load_named_encoder(NAME, weights=weights)


@pytest.fixture(scope="module", params=[(320, 180), (144, 256)], ids=["landscape", "portrait"])
def clip(request, tmp_path_factory):
    """40 frames, of which two windows are cut: at 0 and, moved back, at 8."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    options = {"x264-params": "colormatrix=bt709", "crf": "10"}
    return write_clip(path, noisy_frames(40, *request.param), options=options)


def plain_frames(path, matrix="ITU601"):
    with av.open(str(path)) as container:
        decoded = container.decode(video=0)
        frames = [f.reformat(format="rgb24", src_colorspace=matrix).to_ndarray() for f in decoded]
    return np.stack(frames)


def along(pixels, axis, size):
    """Linear interpolation at half-pixel centres, nothing averaged in between."""
    count = pixels.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * (count / size) - 0.5, 0, None)
    low = np.minimum(place.astype(int), count - 1)
    high = np.minimum(low + 1, count - 1)
    share = (place - low).reshape([-1 if a == axis else 1 for a in range(pixels.ndim)])
    return pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share


def plain_features(network, frames, starts=(0, 8)):
    """Scale, normalise, resize, crop, encode: one window after the other."""
    pixels = (frames / 255 - MEAN) / STD
    short, long = sorted(pixels.shape[1:3])
    for axis in (1, 2):
        is_short = pixels.shape[axis] == short
        pixels = along(pixels, axis, 256 if is_short else int(long / short * 256))
    top, left = (round((size - 224) / 2) for size in pixels.shape[1:3])
    pixels = pixels[:, top : top + 224, left : left + 224]
    rows = []
    for start in starts:
        window = torch.from_numpy(pixels[start : start + 32]).float().permute(3, 0, 1, 2)
        with torch.no_grad():
            rows.append(network(window[None])[0])
    return torch.stack(rows)


@pytest.fixture(scope="module")
def found(encoder, clip):
    return Extractor(encoder).from_file(clip).features


@pytest.mark.slow
def test_features_of_a_file_are_those_of_the_plain_implementation(original, clip, found):
    expected = plain_features(original, plain_frames(clip))
    assert found.shape == (2, 48)
    assert expected.std() > 0.3  # of the size that real features have
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_another_colour_matrix_would_show(original, clip, found):
    wrong = plain_features(original, plain_frames(clip, matrix=None)[:32], [0])
    assert (found[:1] - wrong).abs().max() > 1e-3
