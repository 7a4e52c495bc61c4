"""Orientation: the eight rotations and reflections between a stored and a shown picture.

A display matrix, from the container or from the stream's SEI messages, maps stored pixels to shown
ones. Only its signs count, as in FFmpeg.
"""

import struct
from typing import NamedTuple

import numpy as np

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, in pixels."""

_TRANSPOSE = {
    (False, False): "cclock_flip",
    (True, False): "clock",
    (False, True): "cclock",
    (True, True): "clock_flip",
}
"""Flips after a transposition -> what FFmpeg's filter `transpose` calls both together."""

_SLANT = 0.02
"""Tolerated rotation off the axes, as a share of the larger entries: about one degree."""


class Orientation(NamedTuple):
    """Transform of a stored picture: first the transposition, then the flips.

    Attributes:
        transposed: rows become columns.
        flip_x: left and right are exchanged.
        flip_y: top and bottom are exchanged.
    """

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of_matrix(cls, matrix: bytes) -> "Orientation | None":
        """Reads a display matrix; None for another angle than a multiple of 90 degrees.

        Args:
            matrix: nine int32 (a, b, u, c, d, v, x, y, w): (p, q) -> (a p + c q, b p + d q).
        """
        a, b, _, c, d, *_ = struct.unpack("<9i", matrix)
        straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
        if max(abs(b), abs(c)) <= _SLANT * straight and straight:
            return cls(False, a < 0, d < 0)
        if max(abs(a), abs(d)) <= _SLANT * crossed and crossed:
            return cls(True, c < 0, b < 0)
        return None

    @property
    def is_mirrored(self) -> bool:
        """Whether left and right of the scene are exchanged."""
        return self.flip_x ^ self.flip_y ^ self.transposed

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise, after any mirroring."""
        if self.transposed:
            return 90 if self.flip_x is False else 270
        return 180 if self.flip_y else 0

    @property
    def filters(self) -> list[tuple[str, dict[str, str]]]:
        """The FFmpeg filters of this transform, by name and options, in order."""
        if self.transposed:
            return [("transpose", {"dir": _TRANSPOSE[self.flip_x, self.flip_y]})]
        flips = (("hflip", self.flip_x), ("vflip", self.flip_y))
        return [(name, {}) for name, is_wanted in flips if is_wanted]

    def applied(self, picture: np.ndarray) -> np.ndarray:
        """Returns a view, (H', W', ...), of a stored picture, (H, W, ...)."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Returns the (width, height) as shown of a stored picture, or the reverse."""
        return (height, width) if self.transposed else (width, height)

    def stored(self, part: Box, width: int, height: int) -> Box:
        """Returns the stored picture's box of a box in the shown one, which has that size."""
        left, top, right, bottom = part
        if self.flip_x:
            left, right = width - right, width - left
        if self.flip_y:
            top, bottom = height - bottom, height - top
        return (top, left, bottom, right) if self.transposed else (left, top, right, bottom)


UPRIGHT = Orientation()
