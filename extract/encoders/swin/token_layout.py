"""Token layout of a Swin stage: tokens in the order of attention boxes, cut into slices.

Index tensors that depend on the shape of the grid alone, computed once for each shape.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.encoders.swin.window_boxes import RegionShape, Size, box_kinds

SLICE_ROWS = 3072
"""Approximate rows of a slice on a CPU: measured, for widths of 48 to 1536."""

SIMD_WIDTH = 16
"""Keys per SIMD step of a CPU's attention. A remainder goes one by one, at ten times the cost each,
so a box is padded with the next box's keys, and a bias that masks them."""

TILE_QUERIES = 64
"""Queries of a box that one program of a GPU's attention kernel takes."""


@dataclass(frozen=True)
class RowSlice:
    """Rows that go through a block together.

    Attributes:
        start: the first row.
        stop: after the last one.
        runs: (kind of box, rows) in order; boxes are whole.
    """

    start: int
    stop: int
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """Positions of a block's tokens: ordered by kind of box, then by batch.

    Attributes:
        kinds: of boxes.
        rows: (R + spare,) gather index into the rows of the step before.
        padding: (R + spare, 1) whether a row is padding; None if none is.
        spare: rows after the last box, which pad its keys; of any value.
        slices: of the R rows.
        tiles: (tiles, 4) int32, what each program of an attention kernel does; see `_tiles`.
    """

    kinds: tuple[RegionShape, ...]
    rows: Tensor
    padding: Tensor | None
    spare: int
    slices: tuple[RowSlice, ...]
    tiles: Tensor


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """Positions of a grid's tokens through the blocks of a stage.

    Attributes:
        steps: one for each block. The step before the first one is the batch of grids itself.
        back: (B*N,) gather index from the last step to the original order.
    """

    steps: tuple[BlockLayout, ...]
    back: Tensor


@lru_cache(maxsize=64)
def lay_out(
    shape: Size, window: Size, shifts: tuple[Size, ...], device: torch.device, *, is_sliced: bool
) -> TokenLayout:
    """Returns the layout of a stage.

    Args:
        shape: of the grids, (B, T, H, W).
        window: of the trunk.
        shifts: of each block.
        device: of the index tensors.
        is_sliced: slices of about `SLICE_ROWS`, or one of all rows.
    """
    batch, *grid = shape
    places = np.arange(prod(shape))  # of each token in the step before
    steps = []
    for shift in shifts:
        kinds = box_kinds(tuple(grid), window, shift)
        spare = max(-len(kind.places) % simd_width(device) for kind in kinds)
        tokens = _in_order(kinds, batch, prod(grid), spare)
        real = np.flatnonzero(tokens >= 0)
        padding = torch.from_numpy(tokens < 0)[:, None].to(device)
        steps.append(
            BlockLayout(
                kinds,
                torch.from_numpy(places[tokens]).to(device),
                padding if len(real) < len(tokens) - spare else None,
                spare,
                tuple(_cut(kinds, batch, SLICE_ROWS if is_sliced else len(tokens))),
                torch.from_numpy(_tiles(kinds, batch)).to(device),
            )
        )
        places[tokens[real]] = real
    return TokenLayout(tuple(steps), torch.from_numpy(places).to(device))


def _in_order(
    kinds: tuple[RegionShape, ...], batch: int, num_tokens: int, spare: int
) -> NDArray[np.int64]:
    """Returns which token of the batch is in each place, (R + spare,).

    -1 stands for none: as an index it gathers an arbitrary token.
    """
    first = num_tokens * np.arange(batch)[:, None, None]
    boxes = [np.where(k.tokens == num_tokens, -1, k.tokens + first).ravel() for k in kinds]
    return np.concatenate([*boxes, np.full(spare, -1)])


def padded(length: int) -> int:
    """Returns keys in a stored row of position biases: each row starts at an aligned address."""
    return length + -length % SIMD_WIDTH


def _tiles(kinds: tuple[RegionShape, ...], batch: int) -> NDArray[np.int32]:
    """Returns for each tile its box's first row and length, its first query, where biases start.

    Biases of a kind start at the last number times `SIMD_WIDTH` times the heads.
    """
    tiles, row, start = [], 0, 0
    for kind in kinds:
        length = len(kind.places)
        rows = np.arange(row, row + batch * kind.tokens.size, length)
        queries = np.arange(0, length, TILE_QUERIES)
        of_kind = np.empty((len(rows), len(queries), 4), dtype=np.int32)
        of_kind[..., 0], of_kind[..., 1] = rows[:, None], length
        of_kind[..., 2], of_kind[..., 3] = queries, start
        tiles.append(of_kind.reshape(-1, 4))
        row += batch * kind.tokens.size
        start += length * padded(length) // SIMD_WIDTH
    return np.concatenate(tiles)


def simd_width(device: torch.device) -> int:
    """Returns keys per SIMD step of a device's attention; 1 where padding gains nothing."""
    return SIMD_WIDTH if device.type == "cpu" else 1


def _cut(kinds: tuple[RegionShape, ...], batch: int, limit: int) -> Iterable[RowSlice]:
    """Cuts the rows of all boxes into slices of equal length, as far as boxes stay whole."""
    total = batch * sum(kind.tokens.size for kind in kinds)
    count = -(-total // limit)
    start = stop = cut = 0
    runs: dict[int, int] = {}
    for kind, boxes in enumerate(kinds):
        for _ in range(batch * len(boxes.tokens)):
            stop += len(boxes.places)
            runs[kind] = runs.get(kind, 0) + len(boxes.places)
            if stop * count >= total * (cut + 1):
                yield RowSlice(start, stop, tuple(runs.items()))
                start, cut, runs = stop, cut + 1, {}
