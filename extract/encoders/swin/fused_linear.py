"""Fused linear layers on rows: linear + GELU in one pass, linear + residual in place.

On a CPU these are oneDNN's operators, which torch's compiler uses; on a GPU the products'
epilogues. Where they are missing, slower, or a graph is traced, the plain ones run; the numbers are
the same to the rounding of their type.
"""

import torch
from torch import Tensor, nn

from extract.encoders.swin.float8 import Float8Linear

Layer = nn.Linear | Float8Linear

_LARGEST_FP32 = 2**18
"""Weights above which torch's plain fp32 product measured faster."""

_FEWEST_FP32 = 1024
"""Rows below which it did: the fused one packs the weights in each call."""

_HAS_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_HAS_FUSED_BF16 = _HAS_FUSED and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def linear(x: Tensor, layer: Layer) -> Tensor:
    """Returns layer(x): (R, C) -> (R, C')."""
    if x.dtype is torch.bfloat16 and _has_fused(x, layer):
        return _linear_pointwise(x, layer, "none", "")
    y: Tensor = layer(x)
    return y


def linear_gelu(x: Tensor, layer: Layer) -> Tensor:
    """Returns gelu(layer(x)): the exact GELU, but on a GPU in half precision.

    The epilogue there has the approximation by tanh, which is off by 5e-4 at most: features have a
    cosine of 0.9999998 with those of the exact one, bf16's rounding alone 0.99998.
    """
    if _has_gelu_product(x.device.type, x.dtype) and x.dtype is layer.weight.dtype:
        return _gelu_product(x, layer)
    is_worth_it = len(x) >= _FEWEST_FP32 and layer.weight.numel() <= _LARGEST_FP32
    if (is_worth_it or x.dtype is torch.bfloat16) and _has_fused(x, layer):
        return _linear_pointwise(x, layer, "gelu", "none")
    widened: Tensor = torch.ops.aten.gelu_(layer(x))
    return widened


def linear_add(x: Tensor, layer: Layer, residual: Tensor) -> None:
    """Adds layer(x), (R, C'), to the residual, in place."""
    if x.dtype is torch.bfloat16 is residual.dtype and _has_fused(x, layer):
        binary = torch.ops.mkldnn._linear_pointwise.binary
        residual.copy_(binary(x, residual, layer.weight, layer.bias, "add"))
    elif x.dtype is layer.weight.dtype is residual.dtype:
        residual.add_(layer.bias).addmm_(x, layer.weight.t())
    else:
        residual.add_(layer(x))


def add_product(x: Tensor, layer: Layer, residual: Tensor) -> None:
    """Adds layer(x) without its bias, (R, C'), to the residual, in place: a product's epilogue."""
    if isinstance(layer, Float8Linear):
        residual.add_(layer.product(x))
    else:
        residual.addmm_(x, layer.weight.t())


def _has_gelu_product(device: str, dtype: torch.dtype) -> bool:
    is_half = dtype in (torch.bfloat16, torch.float16)
    return device == "cuda" and is_half and not torch.compiler.is_compiling()


def _gelu_product(x: Tensor, layer: Layer) -> Tensor:
    return torch._addmm_activation(layer.bias, x, layer.weight.t(), use_gelu=True)


def _linear_pointwise(x: Tensor, layer: Layer, function: str, algorithm: str) -> Tensor:
    fused = torch.ops.mkldnn._linear_pointwise.default
    y: Tensor = fused(x, layer.weight, layer.bias, function, [], algorithm)
    return y


def _has_fused(x: Tensor, layer: Layer) -> bool:
    if x.device.type != "cpu" or x.dtype != layer.weight.dtype or torch.compiler.is_compiling():
        return False
    if x.dtype is torch.float32:
        return _HAS_FUSED
    return x.dtype is torch.bfloat16 and _HAS_FUSED_BF16
