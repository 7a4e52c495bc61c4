"""Attention boxes of shifted windows: the regions in which tokens attend, from the grid's size.

A shifted window that wraps around the grid holds tokens that are no neighbours, and torchvision
masks those. Here such a window is split into boxes of neighbours, and attention is computed per
box: no mask, and fewer multiplications.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, ...]
"""Tokens along time, height and width."""


@dataclass(frozen=True, eq=False)
class RegionShape:
    """Boxes of one size, with the same position biases.

    Attributes:
        places: (L,) positions of a box's tokens in their window.
        tokens: (W, L) the tokens of each box; N, the size of the grid, stands for padding.
    """

    places: NDArray[np.int64]
    tokens: NDArray[np.int64]


@lru_cache(maxsize=64)
def box_kinds(grid: Size, window: Size, shift: Size) -> tuple[RegionShape, ...]:
    """Returns the boxes that the windows of a grid consist of; a token is in exactly one.

    Along an axis not longer than the window, the window shrinks to the axis and is not shifted.
    Other axes are padded at their end to whole windows, and padding is attended to as any token.

    Args:
        grid: tokens along each axis.
        window: of the trunk.
        shift: of the block.
    """
    size = tuple(min(n, w) for n, w in zip(grid, window, strict=True))
    moved = tuple(s if n > w else 0 for n, w, s in zip(grid, window, shift, strict=True))
    padding = [(0, -n % w) for n, w in zip(grid, size, strict=True)]
    tokens = np.pad(np.arange(prod(grid)).reshape(grid), padding, constant_values=prod(grid))
    places = np.arange(prod(size)).reshape(size)
    # The bias of two places depends on the difference of their codes. As in torchvision, a shrunk
    # window uses the first places of the whole one, although those may be elsewhere in space.
    codes = np.ravel_multi_index(
        np.unravel_index(places.ravel(), window), [2 * w - 1 for w in window]
    )
    kinds: dict[bytes, tuple[NDArray[np.int64], list[NDArray[np.int64]]]] = {}
    for spans in product(*map(_spans, tokens.shape, size, moved)):
        in_grid, in_window = zip(*spans, strict=True)
        box = places[in_window].ravel()
        differences = codes[box] - codes[box[0]]
        kinds.setdefault(differences.tobytes(), (box, []))[1].append(tokens[in_grid].ravel())
    return tuple(RegionShape(box, np.stack(boxes)) for box, boxes in kinds.values())


def _spans(length: int, window: int, shift: int) -> list[tuple[slice, slice]]:
    """Returns each box's slice of one axis of the grid, and of its window."""
    starts = range(shift, length - window + 1, window)
    spans = [(slice(i, i + window), slice(0, window)) for i in starts]
    if shift:  # the last window has the end of the axis, and after it the beginning
        kept = window - shift
        spans.append((slice(length - kept, length), slice(0, kept)))
        spans.append((slice(0, shift), slice(kept, window)))
    return spans
