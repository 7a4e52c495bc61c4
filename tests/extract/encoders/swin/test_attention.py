"""Our road through the windows gives what torchvision's does."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from extract.contract import TABLETOP
from extract.encoders.swin import token_layout as layout
from extract.encoders.swin.trunk import TABLETOP_SWIN, SwinConfig, build_trunk
from extract.encoders.torch_encoder import TorchEncoder, load_encoder
from tests.extract.encoders.swin.sizes import SIZES

SHIPPED = Path(__file__).parents[4] / "weights" / "tabletop" / "encoder.safetensors"
LARGE = SwinConfig((2, 4, 4), 8, (2, 2, 2), (1, 2, 4), (8, 7, 7))
SMALL = SwinConfig((4, 8, 8), 12, (2, 2, 2), (1, 2, 4), (4, 3, 4))


def torchvisions(config):
    trunk = SwinTransformer3d(
        patch_size=list(config.patch),
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=list(config.window),
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    )
    trunk.head = nn.Identity()
    return trunk


def randomise(module):
    """Biases and norms matter too, so none stays at zero or one."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def both_trunks(config):
    theirs, ours = torchvisions(config).eval(), build_trunk(config).eval()
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.fixture(scope="module", params=[LARGE, SMALL], ids=["8x7x7", "4x3x4"])
def trunks(request):
    return both_trunks(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_features_are_torchvisions_at_every_size(trunks, size):
    ours, theirs = trunks
    pixels = torch.randn(3 if size[1] < 112 else 1, 3, *size)
    with torch.inference_mode():
        found, expected = ours(pixels), theirs(pixels)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
@torch.no_grad()
def test_a_stage_is_torchvisions_on_any_grid_and_window(seed):
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(1, 14, (3,), generator=generator).tolist()
    window = torch.randint(1, 7, (3,), generator=generator).tolist()
    ours, theirs = both_trunks(SwinConfig((1, 1, 1), 8, (seed % 3 + 2,), (2,), tuple(window)))
    for name, parameter in theirs.named_parameters():
        if "bias_table" in name:
            parameter.normal_()
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(seed % 3 + 1, *grid, 8)
    found, expected = (trunk.features(tokens) for trunk in (ours, theirs))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 50, 131, 10**6])
@torch.inference_mode()
def test_it_does_not_matter_how_a_block_is_cut(monkeypatch, trunks, rows):
    ours, theirs = trunks
    monkeypatch.setattr(layout, "SLICE_ROWS", rows)
    layout.lay_out.cache_clear()
    pixels = torch.randn(2, 3, 13, 60, 90)
    torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=0)
    layout.lay_out.cache_clear()


@torch.inference_mode()
def test_a_window_is_the_same_whatever_is_beside_it(trunks):
    ours, _ = trunks
    pixels = torch.randn(3, 3, 16, 48, 64)
    others = pixels.clone()
    others[0], others[2] = 1e4, -1e4
    expected = ours(pixels[1:2])[0]
    for batch in (pixels, others):
        torch.testing.assert_close(ours(batch)[1], expected, atol=1e-5, rtol=0)


def test_initial_weights_and_names_are_torchvisions():
    torch.manual_seed(1)
    theirs = torchvisions(SMALL).state_dict()
    torch.manual_seed(1)
    ours = build_trunk(SMALL).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_inference_adds_nothing_to_the_tensors():
    trunk = build_trunk(SMALL).eval()
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    with torch.inference_mode():
        trunk(torch.randn(1, 3, 16, 48, 64))
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients_are_torchvisions(mode):
    ours, theirs = both_trunks(SMALL)
    pixels = torch.randn(2, 3, 16, 48, 64)
    for trunk in (ours, theirs):
        getattr(trunk, mode)()
        trunk(pixels).square().sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-5)


def changed_in_place(trunk):
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if "bias_table" in name:
                parameter.mul_(-1.0)


def trained(trunk):
    optimizer = torch.optim.Adam(trunk.parameters(), lr=0.3)
    trunk.train()(torch.randn(1, 3, 16, 48, 64)).sum().backward()
    optimizer.step()
    trunk.eval()


def loaded(trunk, **options):
    tensors = {n: t.flip(0) for n, t in trunk.state_dict().items() if t.is_floating_point()}
    trunk.load_state_dict(tensors, strict=False, **options)


def assigned(trunk):
    loaded(trunk, assign=True)


def rounded(trunk):
    trunk.bfloat16().float()


def edited_as_data(trunk):
    for name, parameter in trunk.named_parameters():
        if "bias_table" in name:
            parameter.data.mul_(-1.0)
    trunk.eval()


@pytest.mark.slow
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "change", [changed_in_place, trained, loaded, assigned, rounded, edited_as_data]
)
def test_biases_follow_their_weights(change, context):
    ours, theirs = both_trunks(SMALL)
    pixels = torch.randn(1, 3, 16, 48, 64)
    with context():
        before = ours(pixels)
    change(ours)
    theirs.load_state_dict(ours.state_dict())
    with context():
        after = ours(pixels)
        assert not torch.equal(after, before)
        torch.testing.assert_close(after, theirs(pixels), atol=1e-5, rtol=1e-5)


def test_weights_made_for_inference_are_watched_too():
    with torch.inference_mode():
        ours, theirs = both_trunks(SMALL)
        pixels = torch.randn(1, 3, 16, 48, 64)
        ours(pixels)
        changed_in_place(ours)
        changed_in_place(theirs)
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@torch.inference_mode()
def test_sizes_and_batches_may_alternate(trunks):
    ours, theirs = trunks
    inputs = [torch.randn(b, 3, t, 48, w) for b in (1, 3, 2) for t in (16, 9) for w in (64, 40)]
    for pixels in [*inputs, *reversed(inputs)]:
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_copy_answers_for_itself():
    ours, _ = both_trunks(SMALL)
    pixels = torch.randn(1, 3, 16, 48, 64)
    expected = ours(pixels)
    twin = copy.deepcopy(ours)
    assert torch.equal(twin(pixels), expected)
    changed_in_place(twin)
    assert not torch.allclose(twin(pixels), expected)
    assert torch.equal(ours(pixels), expected)


@torch.no_grad()
@pytest.mark.slow(2)
def test_an_exported_trunk_is_the_same_and_the_original_still_answers():
    config = SwinConfig((2, 8, 8), 6, (2,), (1,), (2, 3, 4))
    ours = build_trunk(config).eval()
    pixels = torch.randn(1, 3, 4, 48, 64)
    exported = torch.export.export(ours, (pixels,)).module()
    torch.testing.assert_close(exported(pixels), ours(pixels), atol=1e-5, rtol=0)


def test_the_shipped_encoder_gives_torchvisions_features_and_fingerprint():
    ours = load_encoder("tabletop", TABLETOP_SWIN, TABLETOP, load_file(SHIPPED))
    trunk = torchvisions(TABLETOP_SWIN)
    trunk.load_state_dict(ours.state_dict())
    theirs = TorchEncoder("tabletop", TABLETOP_SWIN, TABLETOP, trunk)
    scene = torch.rand(2, 3, 4, 6, 8) * 255  # coarse, and smooth once it is scaled up
    smooth = nn.functional.interpolate(scene, (16, 96, 128), mode="trilinear")
    windows = smooth.permute(0, 2, 3, 4, 1).byte()
    torch.testing.assert_close(ours.encode(windows), theirs.encode(windows), atol=1e-5, rtol=1e-5)
    assert ours.fingerprint == theirs.fingerprint


@torch.no_grad()
def test_half_precision_stays_close(trunks):
    ours, _ = trunks
    pixels = torch.randn(2, 3, 16, 96, 64)
    found = copy.deepcopy(ours).bfloat16()(pixels.bfloat16()).float()
    assert nn.functional.cosine_similarity(found, ours(pixels)).min() > 0.99
