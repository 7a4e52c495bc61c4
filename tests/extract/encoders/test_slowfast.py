from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorchvideo.models.slowfast import create_slowfast
from torch import nn

from extract.contract import OMNIVORE, SLOWFAST
from extract.encoders.load import encoder_from_spec, encoder_spec
from extract.encoders.slowfast import SLOW_FRAMES, SLOWFAST_R101, SlowFastConfig, load_slowfast

SMALL = SlowFastConfig(depth=18, width=8, fusion_frames=5)
STAGES = {18: (1, 1, 1, 1), 101: (3, 4, 23, 3)}


def published_layout(config) -> dict[str, torch.Tensor]:
    """Random tensors under the checkpoint's names, written down from its published layout."""
    tensors = {}

    def conv(name, *shape):
        tensors[f"{name}.weight"] = torch.randn(shape) * (2 / np.prod(shape[1:])) ** 0.5

    def norm(name, channels):
        for part in ("weight", "running_var"):
            tensors[f"{name}.{part}"] = torch.rand(channels) + 0.5
        for part in ("bias", "running_mean"):
            tensors[f"{name}.{part}"] = torch.randn(channels) * 0.1
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def fusion(stage, channels):
        conv(f"blocks.{stage}.multipathway_fusion.conv_fast_to_slow", 2 * channels, channels,
             config.fusion_frames, 1, 1)  # fmt: skip
        norm(f"blocks.{stage}.multipathway_fusion.norm", 2 * channels)

    slow, fast = config.width, config.width // 8
    for pathway, (channels, frames) in enumerate([(slow, 1), (fast, 5)]):
        conv(f"blocks.0.multipathway_blocks.{pathway}.conv", channels, 3, frames, 7, 7)
        norm(f"blocks.0.multipathway_blocks.{pathway}.norm", channels)
    fusion(0, fast)
    comes_in = [slow + 2 * fast, fast]
    for stage, depth in enumerate(STAGES[config.depth], 1):
        for pathway, stem in enumerate((slow, fast)):
            inner = stem * 2 ** (stage - 1)
            frames = 3 if pathway == 1 or stage > 2 else 1
            for block in range(depth):
                prefix = f"blocks.{stage}.multipathway_blocks.{pathway}.res_blocks.{block}."
                before = comes_in[pathway] if block == 0 else 4 * inner
                if block == 0:
                    conv(f"{prefix}branch1_conv", 4 * inner, before, 1, 1, 1)
                    norm(f"{prefix}branch1_norm", 4 * inner)
                conv(f"{prefix}branch2.conv_a", inner, before, frames, 1, 1)
                conv(f"{prefix}branch2.conv_b", inner, inner, 1, 3, 3)
                conv(f"{prefix}branch2.conv_c", 4 * inner, inner, 1, 1, 1)
                for letter, channels in (("a", inner), ("b", inner), ("c", 4 * inner)):
                    norm(f"{prefix}branch2.norm_{letter}", channels)
            comes_in[pathway] = 4 * inner
        if stage < 4:
            fusion(stage, comes_in[1])
            comes_in[0] += 2 * comes_in[1]
    tensors["blocks.6.proj.weight"] = torch.randn(400, sum(comes_in))
    tensors["blocks.6.proj.bias"] = torch.randn(400)
    return tensors


class MeanOfPositions(nn.Module):
    def forward(self, pooled):
        return pooled.view(*pooled.shape[:2], -1).mean(2)


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(1)
    return published_layout(SMALL)


@pytest.fixture(scope="module")
def theirs(published):
    """pytorchvideo's whole network with its last block replaced, as the features were made."""
    network = create_slowfast(
        model_depth=18, stem_dim_outs=(8, 1), slowfast_fusion_conv_kernel_size=(5, 1, 1)
    )
    network.load_state_dict(published, strict=True)
    network.blocks[6] = MeanOfPositions()
    return network.eval()


def test_the_whole_published_checkpoint_loads_strictly_at_its_real_size():
    with torch.device("meta"):
        published = published_layout(SLOWFAST_R101)
    assert sum(t.numel() for name, t in published.items() if "running" not in name
               and "tracked" not in name) == 62_826_968  # fmt: skip
    encoder = load_slowfast(published)

    assert encoder.dim == 2304
    expected = {k: (t.shape, t.dtype) for k, t in published.items() if ".proj." not in k}
    assert {k: (t.shape, t.dtype) for k, t in encoder.state_dict().items()} == expected


@pytest.mark.slow
def test_features_are_those_of_the_original_with_its_head_replaced(published, theirs):
    frames = torch.randn(2, 3, 32, 256, 256)
    ours = load_slowfast(published, config=SMALL)
    with torch.no_grad():
        # trunc(linspace(0, 31, 8)), by hand
        expected = theirs([frames[:, :, [0, 4, 8, 13, 17, 22, 26, 31]], frames.clone()])
        found = ours.trunk(frames)
    assert found.shape == (2, 288)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_a_feature_is_no_global_average(published):
    trunk = load_slowfast(published, config=SMALL).trunk
    maps = []
    handle = trunk.blocks[4].register_forward_hook(lambda *call: maps.extend(call[2]))
    with torch.no_grad():
        found = trunk(torch.randn(1, 3, 32, 256, 256))
    handle.remove()
    slow, fast = maps
    assert slow.shape[2:] == (8, 8, 8)
    corners = [(y, x) for y in (0, 1) for x in (0, 1)]
    four = [torch.cat([m[..., y : y + 7, x : x + 7].mean((2, 3, 4)) for m in (slow, fast)], 1)
            for y, x in corners]  # fmt: skip
    torch.testing.assert_close(found, torch.stack(four).mean(0), atol=1e-5, rtol=1e-5)
    whole = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
    assert (found - whole).abs().max() > 1e-3


def test_the_slow_pathway_sees_the_published_frames():
    assert torch.linspace(0, 31, 8).long().tolist() == list(SLOW_FRAMES)


@pytest.mark.slow
def test_windows_of_bytes_become_features(published):
    encoder = load_slowfast(published, config=SMALL)
    windows = torch.randint(0, 256, (1, 32, 256, 341, 3), dtype=torch.uint8)
    pixels = (windows[..., 42:298, :].float() / 255 - 0.45) / 0.225  # (341 - 256) / 2 = 42.5
    with torch.no_grad():
        expected = encoder.trunk(pixels.permute(0, 4, 1, 2, 3))
    torch.testing.assert_close(encoder.encode(windows), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(32, 192, 256), (32, 256, 192), (16, 256, 256), (32, 64, 64)])
def test_windows_it_cannot_pool_are_refused(published, shape):
    trunk = load_slowfast(published, config=SMALL).trunk
    with pytest.raises(ValueError, match="32 frames of at least 193 x 193 pixels, got"):
        trunk(torch.zeros(1, 3, *shape))


def test_the_smallest_frame_it_takes_is_enough(published):
    trunk = load_slowfast(published, config=SMALL).trunk
    with torch.no_grad():
        assert trunk(torch.zeros(1, 3, 32, 193, 193)).shape == (1, 288)


def test_weights_of_another_network_are_refused(published):
    with pytest.raises(ValueError, match="slowfast-r101"):
        load_slowfast(published, config=replace(SMALL, fusion_frames=7))


def test_a_bundle_can_hold_it(published):
    encoder = load_slowfast(published, config=SMALL)
    rebuilt = encoder_from_spec(encoder_spec(encoder), encoder.state_dict())
    assert rebuilt.fingerprint == encoder.fingerprint
    assert rebuilt.config == SMALL
    assert rebuilt.contract == SLOWFAST


def test_unknown_configuration_keys_are_refused():
    with pytest.raises(ValueError, match="expected trunk keys"):
        SlowFastConfig.from_dict(SMALL.to_dict() | {"alpha": 4})


def test_its_contract_differs_from_omnivores_in_crop_and_numbers_alone():
    same = replace(SLOWFAST, crop_height=224, crop_width=224, mean=OMNIVORE.mean, std=OMNIVORE.std)
    assert same == OMNIVORE
    assert (SLOWFAST.crop_height, SLOWFAST.crop_width) == (256, 256)
    assert {*SLOWFAST.mean} == {0.45}
    assert {*SLOWFAST.std} == {0.225}


def test_another_weight_is_another_fingerprint(published):
    encoder = load_slowfast(published, config=SMALL)
    moved = {**published, "blocks.0.multipathway_blocks.0.norm.running_mean": torch.zeros(8)}
    assert load_slowfast(moved, config=SMALL).fingerprint != encoder.fingerprint
