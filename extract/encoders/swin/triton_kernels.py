"""Triton kernels of the Swin trunk: attention of all boxes of a block, gather with LayerNorm, FP8.

Importing this file needs Triton. With TRITON_INTERPRET=1, set before Triton is imported, they run
on a CPU: slowly, to be tested. `kernels` launches them.
"""

from typing import Any

import triton
import triton.language as tl


@triton.jit
def box_attention(
    mixed: "Any",
    out: "Any",
    bias: "Any",
    tiles: "Any",
    width: "Any",
    scale: "Any",
    HEAD: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ALIGNED: tl.constexpr,
    LONGEST: tl.constexpr,
    IS_INTERPRETED: tl.constexpr,
) -> None:
    """Attends within boxes, with an additive bias; a program takes a tile of queries of a head.

    The softmax is made block by block of keys, with a running maximum and sum, in float32.

    Args:
        mixed: (R, 3*width) queries, keys and values of each head, boxes one after the other.
        out: (R, width).
        bias: (heads, L, L padded to ALIGNED) for each kind of box, one after the other.
        tiles: (tiles, 4), see `token_layout`.
        width: channels of all heads.
        scale: of the products of queries and keys.
        HEAD: channels of a head.
        QUERIES: in a tile.
        KEYS: in a block.
        CHANNELS: HEAD, padded to a power of two that a matrix product takes.
        ALIGNED: numbers to which rows of the bias are padded.
        LONGEST: tokens of the longest box: interpreters of some versions of Triton want to know
            how long a loop is.
        IS_INTERPRETED: its products are wrong in bfloat16.
    """
    LOG2_E: tl.constexpr = 1.4426950408889634  # the device has powers of two only
    tile = tiles + 4 * tl.program_id(0)
    head = tl.program_id(1)
    first = tl.load(tile).to(tl.int64)
    length = tl.load(tile + 1)
    m = tl.load(tile + 2) + tl.arange(0, QUERIES)
    lines = tl.load(tile + 3).to(tl.int64) * tl.num_programs(1)
    c = tl.arange(0, CHANNELS)
    is_query, is_channel = m < length, c < HEAD
    pitch = 3 * width
    of_head = mixed + head * HEAD + c[None, :]
    q = tl.load(
        of_head + (first + m)[:, None] * pitch,
        mask=is_query[:, None] & is_channel[None, :],
        other=0.0,
    )
    keys = (length + ALIGNED - 1) // ALIGNED * ALIGNED
    line = bias + lines * ALIGNED + (head * length + m).to(tl.int64)[:, None] * keys
    top = tl.full([QUERIES], -1e30, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    sums = tl.zeros([QUERIES, CHANNELS], tl.float32)
    end = length
    if IS_INTERPRETED:
        end = LONGEST
    for start in range(0, end, KEYS):
        n = start + tl.arange(0, KEYS)
        is_key = n < length
        at = of_head + (first + n)[:, None] * pitch
        inside = is_key[:, None] & is_channel[None, :]
        k = tl.load(at + width, mask=inside, other=0.0)
        v = tl.load(at + 2 * width, mask=inside, other=0.0)
        # As far as a stored row goes: an aligned end, so that several numbers are loaded at once.
        stored = is_query[:, None] & (n < keys)[None, :]
        b = tl.load(line + n[None, :], mask=stored, other=0.0)
        if IS_INTERPRETED:
            s = tl.dot(q.to(tl.float32), tl.trans(k.to(tl.float32)))
        else:
            s = tl.dot(q, tl.trans(k), input_precision="ieee")
        s = s * (scale * LOG2_E) + b.to(tl.float32) * LOG2_E
        s = tl.where(is_key[None, :], s, -1e30)
        higher = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        if IS_INTERPRETED:
            more = tl.dot(p.to(v.dtype).to(tl.float32), v.to(tl.float32))
        else:
            more = tl.dot(p.to(v.dtype), v, input_precision="ieee")
        sums = sums * shrink[:, None] + more
        top = higher
    tl.store(
        out + (first + m)[:, None] * width + head * HEAD + c[None, :],
        (sums / total[:, None]).to(out.dtype.element_ty),
        mask=is_query[:, None] & is_channel[None, :],
    )


@triton.jit(do_not_specialize=["count"])
def gather_norm(
    rows: "Any",
    index: "Any",
    padding: "Any",
    weight: "Any",
    bias: "Any",
    later: "Any",
    kept: "Any",
    normed: "Any",
    count: "Any",
    width: "Any",
    eps: "Any",
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_INDEX: tl.constexpr,
    HAS_PADDING: tl.constexpr,
) -> None:
    """Gathers rows, normalises them, and adds to each what a later product has as its bias.

    Args:
        rows: (N, width).
        index: (R,) int64 which row comes where; not read without HAS_INDEX, then R = N.
        padding: (R,) one byte each, 1 where `normed` is zero; not read without HAS_PADDING.
        weight: (width,) of the norm.
        bias: (width,) of the norm.
        later: (width,) added to `kept`, not to what is normalised.
        kept: (R, width) the gathered rows; may be `rows` without HAS_INDEX.
        normed: (R, width).
        count: R.
        width: channels.
        eps: of the norm.
        ROWS: of a program.
        WIDTH: the next power of two.
        HAS_INDEX: whether rows are gathered.
        HAS_PADDING: whether some are padding.
    """
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, WIDTH)
    is_row, is_channel = r < count, c < width
    inside = is_row[:, None] & is_channel[None, :]
    source = r
    if HAS_INDEX:
        source = tl.load(index + r, mask=is_row, other=0)
    x = tl.load(rows + source[:, None] * width + c[None, :], mask=inside, other=0.0).to(tl.float32)
    at = r[:, None] * width + c[None, :]
    more = tl.load(later + c, mask=is_channel, other=0.0).to(tl.float32)
    tl.store(kept + at, (x + more[None, :]).to(kept.dtype.element_ty), mask=inside)
    centred = tl.where(is_channel[None, :], x - (tl.sum(x, 1) / width)[:, None], 0.0)
    spread = tl.sum(centred * centred, 1) / width
    w = tl.load(weight + c, mask=is_channel, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=is_channel, other=0.0).to(tl.float32)
    y = centred * tl.rsqrt(spread + eps)[:, None] * w[None, :] + b[None, :]
    if HAS_PADDING:
        is_padding = tl.load(padding + r, mask=is_row, other=0)
        y = tl.where((is_padding != 0)[:, None], 0.0, y)
    tl.store(normed + at, y.to(normed.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count"])
def quantise(
    x: "Any",
    out: "Any",
    scale: "Any",
    count: "Any",
    width: "Any",
    GREATEST: tl.constexpr,
    LEAST: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """Divides rows so that the greatest magnitude of each is float8's greatest.

    Args:
        x: (R, width).
        out: (R, width) float8.
        scale: (R,) float32 what rows were divided by.
        count: R.
        width: channels.
        GREATEST: number of float8.
        LEAST: magnitude that a row is taken to have.
        ROWS: of a program.
        WIDTH: the next power of two.
    """
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, WIDTH)
    inside = (r < count)[:, None] & (c < width)[None, :]
    at = r[:, None] * width + c[None, :]
    numbers = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    by = tl.div_rn(tl.maximum(tl.max(tl.abs(numbers), 1), LEAST), GREATEST)
    tl.store(scale + r, by, mask=r < count)
    tl.store(out + at, tl.div_rn(numbers, by[:, None]).to(tl.float8e4nv), mask=inside)


IS_INTERPRETED = not isinstance(box_attention, triton.JITFunction)
"""Whether Triton runs these kernels on a CPU: TRITON_INTERPRET was set when it was imported."""
