"""A trunk fixed to one shape is the same trunk, and can be traced."""

import pytest
import torch

from extract.encoders.swin.static_shapes import FixedStage, specialise
from extract.encoders.swin.trunk import SwinConfig, build_trunk

SMALL = SwinConfig((4, 8, 8), 12, (2, 2), (1, 2), (4, 3, 4))


@pytest.fixture
def trunk():
    trunk = build_trunk(SMALL).eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return trunk


@pytest.mark.parametrize("size", [(1, 3, 16, 48, 64), (3, 3, 16, 96, 128), (2, 3, 7, 50, 70)])
@torch.no_grad()
def test_a_fixed_trunk_gives_the_same_numbers(trunk, size):
    fixed = specialise(trunk, torch.zeros(size))
    pixels = torch.randn(size)
    assert torch.equal(fixed(pixels), trunk(pixels))


@torch.no_grad()
def test_parameters_are_shared_and_the_original_is_left_alone(trunk):
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    fixed = specialise(trunk, torch.zeros(1, 3, 16, 48, 64))
    assert {id(p) for p in fixed.parameters()} <= {id(p) for p in trunk.parameters()}
    assert not any(isinstance(module, FixedStage) for module in trunk.modules())
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.slow
@torch.no_grad()
def test_a_fixed_trunk_is_traced_along_our_way(trunk):
    pixels = torch.randn(2, 3, 16, 48, 64)
    program = torch.export.export(specialise(trunk, pixels), (pixels,))
    called = {str(node.target) for node in program.graph.nodes}
    assert "aten.scaled_dot_product_attention.default" in called  # torchvision's softmax is not
    assert "aten.softmax.int" not in called
    torch.testing.assert_close(program.module()(pixels), trunk(pixels), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_trunk_without_windows_is_copied():
    plain = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 2), torch.nn.ReLU()).eval()
    pixels = torch.randn(1, 3, 4, 8, 8)
    assert torch.equal(specialise(plain, pixels)(pixels), plain(pixels))
