"""Fused linear layers give what the plain ones do, wherever they run."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from extract.encoders.swin import fused_linear as fused


def linear_add(x, layer, residual):
    """In place, as it is; returned, to be compared."""
    fused.linear_add(x, layer, residual)
    return residual


CALLS = {
    "linear": (lambda x, layer, _: fused.linear(x, layer), lambda y, _: y),
    "gelu": (lambda x, layer, _: fused.linear_gelu(x, layer), lambda y, _: F.gelu(y)),
    "add": (linear_add, lambda y, residual: residual + y),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("width", [(48, 192), (768, 512)], ids=["fused", "above the limit"])
@pytest.mark.parametrize("rows", [5, 1500])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@torch.inference_mode()
def test_fused_is_plain(call, width, rows, dtype, atol):
    ours, plain = CALLS[call]
    layer = nn.Linear(*width).to(dtype)
    x = torch.randn(rows, width[0]).to(dtype)
    residual = torch.randn(rows, width[1]).to(dtype)
    before, expected = x.clone(), F.linear(x.float(), layer.weight.float(), layer.bias.float())
    expected = plain(expected, residual.clone())
    found = ours(x, layer, residual)
    torch.testing.assert_close(found.float(), expected.float(), atol=atol, rtol=atol)
    assert torch.equal(x, before)


@torch.inference_mode()
def test_a_sum_goes_where_the_residual_is_and_nowhere_else():
    layer, rows = nn.Linear(8, 8), torch.randn(9, 8)
    before, x = rows.clone(), torch.randn(4, 8)
    fused.linear_add(x, layer, rows[2:6])
    torch.testing.assert_close(rows[2:6], before[2:6] + layer(x))
    assert torch.equal(rows[[0, 1, 6, 7, 8]], before[[0, 1, 6, 7, 8]])


@torch.inference_mode()
def test_the_gelu_is_the_exact_one():
    layer = nn.Linear(8, 8)
    layer.weight.copy_(torch.eye(8))
    layer.bias.zero_()
    x = torch.linspace(-3, 3, 64).view(8, 8)
    assert (fused.linear_gelu(x, layer) - F.gelu(x)).abs().max() < 1e-6
    assert (F.gelu(x, approximate="tanh") - F.gelu(x)).abs().max() > 1e-4


@torch.inference_mode()
def test_without_the_operators_the_plain_ones_run(monkeypatch):
    layer, x, residual = nn.Linear(48, 96), torch.randn(2000, 48), torch.randn(2000, 96)
    with_them = [ours(x, layer, residual.clone()) for ours, _ in CALLS.values()]
    monkeypatch.setattr(fused, "_HAS_FUSED", False)
    without = [ours(x, layer, residual.clone()) for ours, _ in CALLS.values()]
    for found, expected in zip(without, with_them, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@torch.inference_mode()
def test_a_sum_of_two_types_has_the_wider_one():
    layer, x = nn.Linear(4, 4).bfloat16(), torch.randn(3, 4).bfloat16()
    residual = torch.full((3, 4), 1e-4)
    expected = residual + F.linear(x, layer.weight, layer.bias)
    fused.linear_add(x, layer, residual)
    assert torch.equal(residual, expected)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@torch.inference_mode()
def test_a_gelu_in_the_product_is_the_gelu_of_the_layer(monkeypatch, dtype, atol):
    """torch has the operator on a CPU too, with the exact GELU."""
    called = []
    plain = torch._addmm_activation
    monkeypatch.setattr(fused, "_has_gelu_product", lambda device, dtype: True)
    monkeypatch.setattr(
        torch, "_addmm_activation", lambda *a, **o: called.append(1) or plain(*a, **o)
    )
    layer, x = nn.Linear(48, 96).to(dtype), torch.randn(50, 48).to(dtype)
    expected = F.gelu(F.linear(x.float(), layer.weight.float(), layer.bias.float()))
    torch.testing.assert_close(fused.linear_gelu(x, layer).float(), expected, atol=atol, rtol=atol)
    assert called


def test_a_gelu_by_tanh_is_for_half_precision_on_a_gpu_only():
    allowed = [
        (device, dtype)
        for device in ("cpu", "cuda")
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
        if fused._has_gelu_product(device, dtype)
    ]
    assert allowed == [("cuda", torch.bfloat16), ("cuda", torch.float16)]
    x = torch.linspace(-9, 9, 10**5)
    off = (F.gelu(x, approximate="tanh") - F.gelu(x)).abs().max()
    assert 1e-4 < off < 5e-4 < torch.finfo(torch.bfloat16).eps / 4


@torch.inference_mode()
def test_a_product_is_added_without_its_bias():
    layer, x, rows = nn.Linear(8, 6), torch.randn(4, 8), torch.randn(4, 6)
    expected = rows + x @ layer.weight.t()
    fused.add_product(x, layer, rows)
    torch.testing.assert_close(rows, expected)


@pytest.mark.gpu
@torch.inference_mode()
def test_on_a_gpu_the_epilogue_is_the_layer_and_its_gelu():
    layer, x = nn.Linear(64, 256).cuda().bfloat16(), torch.randn(500, 64).cuda().bfloat16()
    expected = F.gelu(F.linear(x.float(), layer.weight.float(), layer.bias.float()))
    torch.testing.assert_close(fused.linear_gelu(x, layer).float(), expected, atol=2e-2, rtol=2e-2)
