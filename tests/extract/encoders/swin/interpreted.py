"""A program that runs the trunk's kernels in Triton's interpreter beside the plain operators.

A process of its own, started with TRITON_INTERPRET=1: Triton looks at it when it is imported. It
writes the greatest differences of every case to a file, as JSON.
"""

import json
import sys
from math import prod
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from extract.encoders.swin import float8, kernels, token_layout
from extract.encoders.swin.attention import WindowStage, attend, window_block
from extract.encoders.swin.token_layout import lay_out
from tests.extract.encoders.swin.sizes import SIZES

CPU = torch.device("cpu")
WINDOW = (8, 7, 7)
SHIFTS = ((0, 0, 0), (4, 3, 3))
PATCH = (2, 16, 16)
HEADS = [(1, 32), (2, 16), (1, 24), (3, 8), (1, 16)]
"""Heads, and channels of each; in turn."""


def grid_of(size):
    return tuple(-(-n // p) for n, p in zip(size, PATCH, strict=True))


def block(heads, width, shift):
    made = window_block(width, heads, list(WINDOW), list(shift), norm_layer=nn.LayerNorm).eval()
    for parameter in made.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    made.attn.relative_position_bias_table.normal_()
    return made


def difference(found, expected):
    """The greatest, beside the greatest number that is expected."""
    assert found.shape == expected.shape
    found, expected = found.float(), expected.float()
    return float((found - expected).abs().max() / expected.abs().max())


def of_size(number, size):
    """Returns each kernel's difference by type, the greatest over plain and shifted boxes."""
    shape = (2 if size[1] < 100 else 1, *grid_of(size))
    tokens = prod(shape)
    heads, head = HEADS[number % len(HEADS)] if tokens < 2000 else (1, 16)
    # The interpreter's time goes by programs and loops, not by numbers.
    kernels.TILE_KEYS, kernels.TILE_NUMBERS = (64, 2**11) if tokens < 300 else (256, 2**16)
    kernels.TILE_QUERIES = token_layout.TILE_QUERIES = 64 if tokens < 300 else 256
    layout = lay_out(shape, WINDOW, SHIFTS, CPU, is_sliced=False)
    found = {}
    for dtype in (torch.float32, torch.bfloat16) if tokens < 300 else (torch.float32,):
        before = tokens
        for step, shift in zip(layout.steps, SHIFTS, strict=True):
            layers = block(heads, heads * head, shift).to(dtype)
            rows = (torch.randn(before, heads * head) + 1).to(dtype)
            before = len(step.rows) - step.spare
            differences = {
                "attention": of_attention(step, layers.attn, dtype),
                **of_norms(rows, step, layers),
            }
            for kernel, value in differences.items():
                key = f"{kernel}, {str(dtype).removeprefix('torch.')}"
                found[key] = max(value, found.get(key, 0.0))
    return found


def of_attention(step, attention, dtype):
    biases, heads = attention.biases(step.kinds), attention.num_heads
    mixed = torch.randn(len(step.rows), attention.qkv.out_features).to(dtype)
    expected = attend(mixed.float(), step.slices[0].runs, [b.float() for b in biases.of_kinds])
    longest = max(len(kind.places) for kind in step.kinds)
    boxes = mixed[: len(step.rows) - step.spare]
    found = kernels.box_attention(boxes, step.tiles, biases.packed, heads, longest)
    return difference(found, expected)


def of_norms(rows, step, layers):
    count = len(step.rows) - step.spare
    index, later = step.rows[:count], layers.attn.proj.bias
    padding = None if step.padding is None else step.padding[:count]
    kept, normed = kernels.gather_norm(rows, index, padding, layers.norm1, later)
    plain = layers.norm1(rows[index])
    plain = plain if padding is None else plain.masked_fill(padding, 0.0)
    before, last = rows.clone(), layers.mlp[3].bias
    in_place = kernels.norm_in_place(rows, layers.norm2, last)
    return {
        "gathered": difference(kept, before[index] + later),
        "gathered and normed": difference(normed, plain),
        "in place": difference(rows, before + last),
        "in place and normed": difference(in_place, layers.norm2(before)),
    }


def of_quantise(dtype):
    """Returns the differences of the scales, and of normal numbers that were rounded down.

    Where a number is rounded up to a power of two, the interpreter forgets to carry; float32 has
    no ties, which it rounds up.
    """
    x = torch.randn(37, 40).to(dtype) * torch.logspace(-4, 4, 37)[:, None].to(dtype)
    x[5] = 0.0
    rows, scale = kernels.quantise(x)
    expected, by = float8.quantise(x)
    magnitude = expected.float().abs()
    down = (magnitude <= (x.float() / by).abs()) & (magnitude >= 2.0**-6)
    assert down.float().mean() > 0.4
    return {
        "scale": difference(scale, by),
        "numbers": difference(rows.float() * down, expected.float() * down),
    }


def of_stage(size, dtype):
    """Returns the least cosine of a stage's tokens, all in kernels, and the plain way's in fp32."""
    plain = WindowStage(*(block(2, 32, shift) for shift in SHIFTS)).eval()
    tokens = torch.randn(2, *grid_of(size), 32)
    expected = plain(tokens)
    stage = plain.to(dtype).eval()
    stage.in_kernels = True
    return float(F.cosine_similarity(stage(tokens.to(dtype)).float(), expected, dim=-1).min())


def main(out):
    torch.manual_seed(0)
    with torch.no_grad():
        found = {"x".join(map(str, size)): of_size(n, size) for n, size in enumerate(SIZES)}
        found["quantise"] = of_quantise(torch.float32)
        found["stage"] = {
            str(dtype).removeprefix("torch."): of_stage((14, 60, 90), dtype)
            for dtype in (torch.float32, torch.bfloat16)
        }
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
