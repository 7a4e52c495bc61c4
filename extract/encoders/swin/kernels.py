"""Launches of the Triton kernels of the Swin trunk, on a CUDA device.

Triton is imported by the first launch: it may be missing, and the C compiler that it needs, too.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from extract.encoders.swin.token_layout import SIMD_WIDTH, TILE_QUERIES

TILE_KEYS = 64
"""Keys in a block of attention."""

TILE_NUMBERS = 2048
"""Numbers that a program of other kernels takes: a few narrow rows, or one wide one."""

GREATEST_FLOAT8 = torch.finfo(torch.float8_e4m3fn).max
LEAST_MAGNITUDE = 1e-12
"""What the greatest magnitude of a row is taken to be at least: a row of zeros stays one."""


def box_attention(mixed: Tensor, tiles: Tensor, biases: Tensor, heads: int, longest: int) -> Tensor:
    """Returns attention of tokens within their boxes, (R, C), of all boxes in one launch.

    Args:
        mixed: (R, 3*C) queries, keys and values of each head.
        tiles: of the R rows, see `BlockLayout`.
        biases: (heads, L, K) of each kind of box, one after the other; K is L, `padded`.
        heads: of the block.
        longest: tokens of the longest box.
    """
    from extract.encoders.swin import triton_kernels

    is_interpreted = triton_kernels.IS_INTERPRETED
    rows, width = len(mixed), mixed.shape[1] // 3
    head = width // heads
    out = mixed.new_empty(rows, width)
    with _device_of(mixed):
        triton_kernels.box_attention[len(tiles), heads](
            mixed,
            out,
            biases,
            tiles,
            width,
            head**-0.5,
            HEAD=head,
            QUERIES=TILE_QUERIES,
            KEYS=TILE_KEYS,
            CHANNELS=max(16, _power_of_two(head)),
            ALIGNED=SIMD_WIDTH,
            LONGEST=longest if is_interpreted else 0,  # each value would be compiled
            IS_INTERPRETED=is_interpreted,
        )
    return out


def gather_norm(
    rows: Tensor, index: Tensor, padding: Tensor | None, norm: nn.LayerNorm, later: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns gathered rows plus a bias, and the rows without it normalised, (R, C) each.

    Args:
        rows: (N, C).
        index: (R,) which row comes where.
        padding: (R, 1) rows that are zero once normalised.
        norm: of the rows.
        later: (C,) bias of the layer whose product is added to the rows afterwards.
    """
    kept = rows.new_empty(len(index), rows.shape[1])
    return kept, _norm(rows, index, padding, norm, later, kept)


def norm_in_place(rows: Tensor, norm: nn.LayerNorm, later: Tensor) -> Tensor:
    """Returns normalised rows, (R, C), and then adds a bias to the rows, as `gather_norm` does."""
    return _norm(rows, None, None, norm, later, rows)


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rows, (R, C), as float8, and what each is to be multiplied by, (R, 1) float32."""
    from extract.encoders.swin import triton_kernels

    count, width = x.shape
    rows = torch.empty_like(x, dtype=torch.float8_e4m3fn)
    scale = x.new_empty(count, 1, dtype=torch.float32)
    at_once, padded_width = _tile(width)
    with _device_of(x):
        triton_kernels.quantise[-(-count // at_once),](
            x,
            rows,
            scale,
            count,
            width,
            GREATEST=GREATEST_FLOAT8,
            LEAST=LEAST_MAGNITUDE,
            ROWS=at_once,
            WIDTH=padded_width,
        )
    return rows, scale


def launch_errors() -> tuple[type[Exception], ...]:
    """Returns what Triton raises where it cannot compile a kernel, or a device cannot hold it."""
    try:
        from triton.errors import TritonError
    except ImportError:
        return ()
    return (TritonError,)


def _norm(
    rows: Tensor,
    index: Tensor | None,
    padding: Tensor | None,
    norm: nn.LayerNorm,
    later: Tensor,
    kept: Tensor,
) -> Tensor:
    from extract.encoders.swin import triton_kernels

    count, width = kept.shape
    at_once, padded_width = _tile(width)
    normed = torch.empty_like(kept)
    with _device_of(rows):
        triton_kernels.gather_norm[-(-count // at_once),](
            rows,
            rows if index is None else index,
            rows if padding is None else padding.view(torch.uint8),
            norm.weight,
            norm.bias,
            later,
            kept,
            normed,
            count,
            width,
            norm.eps,
            ROWS=at_once,
            WIDTH=padded_width,
            HAS_INDEX=index is not None,
            HAS_PADDING=padding is not None,
        )
    return normed


def _tile(width: int) -> tuple[int, int]:
    """Returns the rows of a program, and their width as a power of two."""
    padded_width = _power_of_two(width)
    return max(1, TILE_NUMBERS // padded_width), padded_width


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _device_of(tensor: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
