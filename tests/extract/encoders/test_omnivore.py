from dataclasses import replace

import pytest
import torch

from extract.encoders.omnivore import load_omnivore, translate_keys
from extract.encoders.swin.trunk import OMNIVORE_SWINL, build_trunk


def published_layout(config) -> dict[str, torch.Tensor]:
    """Random tensors under the checkpoint's names, written down from its published layout."""

    def random(*shape):
        return torch.rand(shape) * 0.02

    tensors = {}
    for embed, channels in (("patch_embed", 3), ("depth_patch_embed", 1)):
        tensors[f"{embed}.proj.weight"] = random(config.width, channels, *config.patch)
        for name in ("proj.bias", "norm.weight", "norm.bias"):
            tensors[f"{embed}.{name}"] = random(config.width)
    t, h, w = config.window
    tokens = t * h * w
    for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
        c = config.width * 2**stage
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}."
            for norm in ("norm1", "norm2"):
                tensors[f"{prefix}{norm}.weight"] = random(c)
                tensors[f"{prefix}{norm}.bias"] = random(c)
            table = ((2 * t - 1) * (2 * h - 1) * (2 * w - 1), heads)
            tensors[f"{prefix}attn.relative_position_bias_table"] = random(*table)
            index = torch.randint(0, table[0], (tokens, tokens))
            tensors[f"{prefix}attn.relative_position_index"] = index
            for name, rows, columns in (
                ("attn.qkv", 3 * c, c),
                ("attn.proj", c, c),
                ("mlp.fc1", 4 * c, c),
                ("mlp.fc2", c, 4 * c),
            ):
                tensors[f"{prefix}{name}.weight"] = random(rows, columns)
                tensors[f"{prefix}{name}.bias"] = random(rows)
        if stage < len(config.depths) - 1:
            for name in ("norm.weight", "norm.bias"):
                tensors[f"layers.{stage}.downsample.{name}"] = random(4 * c)
            tensors[f"layers.{stage}.downsample.reduction.weight"] = random(2 * c, 4 * c)
    tensors["norm.weight"], tensors["norm.bias"] = random(c), random(c)
    return tensors


def test_the_whole_published_trunk_loads_strictly_at_its_real_size():
    with torch.device("meta"):
        published = published_layout(OMNIVORE_SWINL)
        trunk = build_trunk(OMNIVORE_SWINL)
    assert len(published) == 355

    translated = translate_keys(published)

    assert len(translated) == 351
    expected = {key: (t.shape, t.dtype) for key, t in trunk.state_dict().items()}
    assert {key: (t.shape, t.dtype) for key, t in translated.items()} == expected


@pytest.fixture(scope="module")
def small_swinl():
    return replace(OMNIVORE_SWINL, width=6, heads=(1, 2, 3, 6), depths=(2, 2, 3, 2))


def test_every_tensor_arrives_unchanged_where_it_belongs(small_swinl):
    published = published_layout(small_swinl)
    encoder = load_omnivore(published, config=small_swinl)
    blocks = encoder.trunk.features

    assert encoder.name == "omnivore-swinl"
    assert encoder.dim == 48
    pairs = [
        ("patch_embed.proj.weight", encoder.trunk.patch_embed.proj.weight),
        ("layers.0.blocks.1.attn.qkv.weight", blocks[0][1].attn.qkv.weight),
        ("layers.2.blocks.2.mlp.fc1.weight", blocks[4][2].mlp[0].weight),
        ("layers.2.blocks.2.mlp.fc2.bias", blocks[4][2].mlp[3].bias),
        ("layers.1.downsample.reduction.weight", blocks[3].reduction.weight),
        ("layers.3.blocks.0.norm2.bias", blocks[6][0].norm2.bias),
        ("norm.bias", encoder.trunk.norm.bias),
    ]
    for key, parameter in pairs:
        assert torch.equal(parameter, published[key]), key
    loaded = encoder.state_dict()
    kept = {k: v for k, v in published.items() if not k.startswith("depth_")}
    values = sorted(float(t.double().sum()) for t in kept.values())
    assert values == sorted(float(t.double().sum()) for t in loaded.values())


def test_a_published_trunk_with_another_window_is_refused(small_swinl):
    published = published_layout(replace(small_swinl, window=(16, 7, 7)))
    with pytest.raises(ValueError, match="omnivore-swinl"):
        load_omnivore(published, config=small_swinl)
