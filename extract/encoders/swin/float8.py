"""FP8 linear layers: products of 8-bit numbers, scaled row by row, as GPUs since Ada have them.

A row of weights or of activations is divided by its greatest magnitude, so that one large number
costs only its own row precision. On a CPU the same arithmetic is emulated, to be tested.
"""

import torch
from torch import Tensor, nn

from extract.encoders.swin import kernels

LEAST_CAPABILITY = (8, 9)
"""Of a CUDA device with such products."""

MULTIPLE = 16
"""Of which a product's sizes are multiples there."""


class Float8Linear(nn.Module):
    """A linear layer for inference with weights of 8 bits.

    Attributes:
        weight: (C', C) float8.
        scale: (C', 1) float32, of each row of the weights.
        bias: (C',) bfloat16.
        in_kernels: activations are scaled by Triton's kernel.
    """

    in_kernels = False

    def __init__(self, layer: nn.Linear) -> None:
        """Quantises a layer.

        Raises:
            ValueError: there are no such products of its size.
        """
        super().__init__()
        if any(size % MULTIPLE for size in layer.weight.shape):
            sizes = "x".join(map(str, layer.weight.shape))
            raise ValueError(
                f"fp8 needs layers whose sizes are multiples of {MULTIPLE}, one is {sizes}"
            )
        weight, scale = quantise(layer.weight.detach())
        # Parameters, so that copies of a trunk share them.
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = nn.Parameter(layer.bias.detach().bfloat16(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (R, C'), of the type of x, (R, C)."""
        return self._multiply(x, self.bias)

    def product(self, x: Tensor) -> Tensor:
        """Returns the same without the bias."""
        return self._multiply(x, None)

    def _multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        rows, scale = kernels.quantise(x) if self.in_kernels else quantise(x)
        multiply = scaled_product if x.is_cuda else emulated_product
        return multiply(rows, scale, self, bias, x.dtype)


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rows, (R, C), as float8, and what each is to be multiplied by, (R, 1) float32."""
    x = x.float()
    scale = x.abs().amax(1, keepdim=True).clamp(min=kernels.LEAST_MAGNITUDE)
    scale /= kernels.GREATEST_FLOAT8
    return (x / scale).to(torch.float8_e4m3fn), scale


def scaled_product(
    rows: Tensor, scale: Tensor, layer: Float8Linear, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Returns rows, (R, C) float8 with their scale, (R, 1), times a layer's weights: (R, C')."""
    # Sums of the product in fewer bits: so it is at its fastest, and the precision's check sees it.
    return torch._scaled_mm(
        rows,
        layer.weight.t(),
        scale_a=scale,
        scale_b=layer.scale.t(),
        bias=bias,
        out_dtype=dtype,
        use_fast_accum=True,
    )


def emulated_product(
    rows: Tensor, scale: Tensor, layer: Float8Linear, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Returns the same in float32, where there is no such operator."""
    y = (rows.float() @ layer.weight.float().t()) * scale * layer.scale.t()
    return (y if bias is None else y + bias.float()).to(dtype)
