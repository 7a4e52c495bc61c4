"""Linear layers of which a CPU does what follows in the same pass: the GELU, or the residual sum.

The operators are those that torch's compiler uses. Where they are missing, and where a graph is
traced, the plain ones run; the numbers are the same to rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LARGEST_FP32 = 2**18
"""Weights above which torch's own fp32 product was the faster one."""

_HAS_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_HAS_FUSED_BF16 = _HAS_FUSED and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """Returns layer(x): (..., C) -> (..., C')."""
    if _is_fused(x, layer):
        return _linear_pointwise(x, layer, "none", "")
    return F.linear(x, layer.weight, layer.bias)


def linear_gelu(x: Tensor, layer: nn.Linear) -> Tensor:
    """Returns gelu(layer(x)): the exact GELU, not its approximation by tanh."""
    if _is_fused(x, layer):
        return _linear_pointwise(x, layer, "gelu", "none")
    return F.gelu(F.linear(x, layer.weight, layer.bias))


def linear_add(x: Tensor, layer: nn.Linear, residual: Tensor) -> None:
    """Adds layer(x) to the residual, (..., C'), in place.

    Args:
        x: (..., C).
        layer: C to C'.
        residual: rows, one after another.
    """
    if x.dtype is torch.bfloat16 and residual.dtype is x.dtype and _is_fused(x, layer):
        binary = torch.ops.mkldnn._linear_pointwise.binary
        residual.copy_(binary(x, residual, layer.weight, layer.bias, "add"))
    elif x.dtype is residual.dtype is layer.weight.dtype:
        residual.add_(layer.bias).addmm_(x, layer.weight.t())
    else:
        residual.add_(F.linear(x, layer.weight, layer.bias))


def _linear_pointwise(x: Tensor, layer: nn.Linear, function: str, algorithm: str) -> Tensor:
    fused = torch.ops.mkldnn._linear_pointwise.default
    y: Tensor = fused(x, layer.weight, layer.bias, function, [], algorithm)
    return y


def _is_fused(x: Tensor, layer: nn.Linear) -> bool:
    weight = layer.weight
    if x.device.type != "cpu" or x.dtype != weight.dtype or torch.compiler.is_compiling():
        return False
    if x.dtype is torch.float32:
        return _HAS_FUSED and weight.numel() <= _LARGEST_FP32
    return x.dtype is torch.bfloat16 and _HAS_FUSED_BF16
