"""Bilinear resize and centre crop in numpy, for contracts with `resize="float"`.

Half-pixel centres, no antialiasing: a pixel is interpolated from two rows and two columns, and only
those of the centre crop are computed. Imports no torch: it runs in decoding processes.
`encoders.preprocess` does the same with tensors, in the same order, hence to the same bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from extract.contract import FeatureContract, crop_offset, resized_size

_ROWS = 32
"""Rows of the crop that are mixed at once: of 224 columns, half a megabyte in all."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Interpolation taps of the pixels along one axis.

    Attributes:
        places: (2n,) int64, the source pixel below each one, then the one above each.
        weights: (n,) float32, share of the one above, in [0, 1).
    """

    places: np.ndarray
    weights: np.ndarray

    def after(self, first: int) -> "Taps":
        """Returns the same taps of a source that begins at pixel `first`."""
        return Taps(self.places - first, self.weights)


def taps_of(
    width: int, height: int, contract: FeatureContract, pixels: tuple[int, int] | None = None
) -> tuple[Taps, Taps]:
    """Returns the rows and the columns that a frame is resized and cropped from.

    Args:
        width: of the frame as shown, with square pixels.
        height: as `width`.
        contract: target sizes.
        pixels: stored columns and rows; None: as many as width and height.

    Raises:
        ValueError: the crop is larger than the resized frame.
    """
    new_width, new_height = resized_size(width, height, contract)
    x, y = crop_offset(new_width, new_height, contract)
    num_columns, num_rows = pixels or (width, height)
    rows = _taps(num_rows, new_height, y, contract.crop_height)
    return rows, _taps(num_columns, new_width, x, contract.crop_width)


def _taps(size: int, resized: int, first: int, count: int) -> Taps:
    """Rounds scale and place where `torch.nn.functional.interpolate` does."""
    scale = np.float64(np.float32(size) / np.float32(resized))
    places = scale * (np.arange(first, first + count) + 0.5) - 0.5
    found = np.maximum(places.astype(np.float32), np.float32(0))
    below = np.minimum(found.astype(np.int64), size - 1)
    above = np.minimum(below + 1, size - 1)
    return Taps(np.concatenate([below, above]), found - below.astype(np.float32))


class Resizer:
    """Resizes pictures of one video and crops them, in buffers that it keeps.

    A few rows at a time, so that what is mixed stays in a core's cache.

    Args:
        rows: as `taps_of` gives them.
        columns: as `rows`.
    """

    def __init__(self, rows: Taps, columns: Taps) -> None:
        self._rows, self._columns = rows, columns
        height, width = len(rows.weights), len(columns.weights)
        self._parts = [slice(at, min(at + _ROWS, height)) for at in range(0, height, _ROWS)]
        self._row_weights = rows.weights[:, None]
        # Flat rows: numpy is slow with an innermost axis as short as a pixel.
        self._column_weights = np.repeat(columns.weights, 4)
        self._places: list[np.ndarray] = []
        self._stride = 0
        count = min(_ROWS, height)
        self._gathered = np.empty((2, count, 2 * width), np.uint32)
        self._low = np.empty((count, 8 * width), np.float32)
        self._mixed = np.empty((count, 8 * width), np.float32)
        self._resized = np.empty((count, 4 * width), np.float32)
        self._crop = np.empty((height, width, 3), np.float32)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Returns the crop of a resized picture, (crop_height, crop_width, 3) float32 in [0, 255].

        The next call overwrites it.

        Args:
            picture: (H, W, 4) uint8, the last channel unused: gathering four bytes at once takes a
                fifth of the time of three. Pixels are contiguous, rows need not be.
        """
        pixels = self._flat(picture.view(np.uint32)[..., 0])
        for part, places in zip(self._parts, self._places, strict=True):
            resized = self._part(pixels, part, places).reshape(len(places[0]), -1, 4)
            for channel in range(3):
                self._crop[part, :, channel] = resized[..., channel]
        return self._crop

    def _part(self, pixels: np.ndarray, part: slice, places: np.ndarray) -> np.ndarray:
        """Returns some rows of the crop, (rows, 4 * crop_width)."""
        count = len(places[0])
        gathered = self._gathered[:, :count]
        # Places are in range; with another mode numpy would gather into a buffer of its own first.
        np.take(pixels, places, out=gathered, mode="clip")
        below, above = gathered.view(np.uint8)
        low, mixed, resized = self._low[:count], self._mixed[:count], self._resized[:count]
        low[:], mixed[:] = below, above
        mixed -= low
        mixed *= self._row_weights[part]
        mixed += low
        middle = resized.shape[1]
        left, right = mixed[:, :middle], mixed[:, middle:]
        np.subtract(right, left, out=resized)
        resized *= self._column_weights
        resized += left
        return resized

    def _flat(self, pixels: np.ndarray) -> np.ndarray:
        """Returns a picture's memory, of which `_places` names the pixels of each part.

        It ends with the last pixel; what pads its rows is never looked at.
        """
        if pixels.strides[1] != pixels.itemsize or pixels.strides[0] < 0:
            pixels = np.ascontiguousarray(pixels)  # it is turned
        stride = pixels.strides[0] // pixels.itemsize
        if stride != self._stride:
            self._stride = stride
            rows = self._rows.places.reshape(2, -1, 1) * stride
            self._places = [rows[:, part] + self._columns.places for part in self._parts]
        size = (len(pixels) - 1) * stride + pixels.shape[1]
        return as_strided(pixels, (size,), (pixels.itemsize,), writeable=False)
