"""FP8 layers: the arithmetic of torch's scaled product, and how far it is from the plain one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from extract.encoders.swin import fused_linear as fused
from extract.encoders.swin.float8 import (
    Float8Linear,
    emulated_product,
    quantise,
    scaled_product,
)

COSINE = 0.999


def test_every_number_is_restored_to_three_bits_of_its_mantissa():
    x = torch.randn(20, 64) * torch.logspace(-6, 6, 20)[:, None]
    rows, scale = quantise(x)
    assert rows.dtype is torch.float8_e4m3fn
    assert torch.equal(rows.float().abs().amax(1), torch.full((20,), 448.0))
    restored = rows.float() * scale
    greatest = x.abs().amax(1, keepdim=True)
    assert ((restored - x).abs() <= x.abs() / 16 + greatest * 2.0**-19).all()


def test_rows_do_not_share_a_scale_and_one_of_zeros_stays_so():
    x = torch.stack([torch.zeros(8), torch.full((8,), 1e-3), torch.full((8,), 1e5)])
    rows, scale = quantise(x)
    torch.testing.assert_close(rows.float() * scale, x)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_emulation_is_torchs_scaled_product(with_bias):
    layer = Float8Linear(nn.Linear(64, 48))
    rows, scale = quantise(torch.randn(30, 64) * torch.logspace(-2, 2, 30)[:, None])
    bias = layer.bias if with_bias else None
    found, expected = (
        way(rows, scale, layer, bias, torch.bfloat16) for way in (emulated_product, scaled_product)
    )
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=2.0**-7)


@torch.inference_mode()
def test_a_layer_is_close_to_the_one_it_was_made_of():
    plain = nn.Linear(192, 768)
    x = torch.randn(100, 192)
    layer = Float8Linear(plain)
    found, expected = layer(x.bfloat16()).float(), plain(x)
    assert layer(x.bfloat16()).dtype is torch.bfloat16
    assert COSINE < F.cosine_similarity(found, expected).min() < 0.99999
    torch.testing.assert_close(
        layer.product(x.bfloat16()) + layer.bias, layer(x.bfloat16()), atol=2e-2, rtol=0
    )


@torch.inference_mode()
def test_the_fused_layers_take_it_too():
    plain, x = nn.Linear(64, 64), torch.randn(50, 64).bfloat16()
    layer, residual = Float8Linear(plain), torch.randn(50, 64).bfloat16()
    y = layer(x)
    assert torch.equal(fused.linear(x, layer), y)
    assert torch.equal(fused.linear_gelu(x, layer), F.gelu(y))
    added, without = residual.clone(), residual.clone()
    fused.linear_add(x, layer, added)
    fused.add_product(x, layer, without)
    assert torch.equal(added, residual + y)
    assert torch.equal(without, residual + layer.product(x))


def test_copies_share_what_they_are_told_to_share():
    layer = Float8Linear(nn.Linear(16, 32))
    twin = copy.deepcopy(layer, {id(p): p for p in layer.parameters()})
    assert twin.weight is layer.weight
    assert twin.scale is layer.scale


def test_sizes_that_have_no_such_product_are_refused():
    with pytest.raises(ValueError, match="multiples of 16, one is 24x48"):
        Float8Linear(nn.Linear(48, 24))


@pytest.mark.gpu
@torch.inference_mode()
def test_on_a_gpu_the_product_is_the_emulated_one():
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no products of 8 bits")
    layer, x = Float8Linear(nn.Linear(192, 768)).cuda(), torch.randn(100, 192).cuda().bfloat16()
    expected = emulated_product(*quantise(x), layer, layer.bias, x.dtype)
    for in_kernels in (False, True):
        layer.in_kernels = in_kernels
        torch.testing.assert_close(layer(x), expected, atol=2e-2, rtol=2e-2)
