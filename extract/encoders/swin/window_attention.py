"""Window attention's parameters, and the position biases of boxes made from them.

Biases are kept until their table changes: to make them takes longer than to use them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from extract.encoders.swin.token_layout import padded, simd_width
from extract.encoders.swin.torchvision import ShiftedWindowAttention3d
from extract.encoders.swin.window_boxes import RegionShape


@dataclass(frozen=True, eq=False)
class BoxBiases:
    """Position biases of a block.

    Attributes:
        packed: all numbers; (heads, L, K) of each kind of box, one after the other, K = L `padded`.
        of_kinds: (1, heads, L, K) views for `attend`; K = L where padded keys gain nothing.
    """

    packed: Tensor
    of_kinds: tuple[Tensor, ...]

    @classmethod
    def of(cls, packed: Tensor, kinds: tuple[RegionShape, ...], heads: int) -> "BoxBiases":
        """Returns the biases in a packed tensor."""
        views, start = [], 0
        for length in (len(kind.places) for kind in kinds):
            keys = padded(length)
            used = length + -length % simd_width(packed.device)
            rows = packed[start : start + heads * length * keys].view(1, heads, length, keys)
            views.append(rows[..., :used])
            start += heads * length * keys
        return cls(packed, tuple(views))


@dataclass(frozen=True, eq=False)
class _Kept:
    """Cached position biases, and the table and boxes they were computed from."""

    kinds: tuple[RegionShape, ...]
    table: Tensor
    version: int
    biases: BoxBiases

    def are_of(self, kinds: tuple[RegionShape, ...], table: Tensor) -> bool:
        # The old table is referenced here, so its address cannot have been reused.
        same = self.table.data_ptr() == table.data_ptr() and self.version == table._version
        return same and _alike(self.kinds, kinds)


def _alike(kinds: tuple[RegionShape, ...], others: tuple[RegionShape, ...]) -> bool:
    """Whether boxes have the same biases: of two batch sizes, those of one may be made anew."""
    if kinds is others:
        return True
    pairs = zip(kinds, others, strict=False)
    return len(kinds) == len(others) and all(np.array_equal(a.places, b.places) for a, b in pairs)


class WindowAttention(ShiftedWindowAttention3d):  # type: ignore[misc]
    """torchvision's module and parameters, with a cache of its position biases.

    The cache is dropped when their table changes. An edit through `.data` is not noticed: call
    `train()` or `eval()` after one.
    """

    _kept: _Kept | None = None

    def train(self, mode: bool = True) -> "WindowAttention":
        """Sets the mode, and drops the cached biases."""
        self._kept = None
        super().train(mode)
        return self

    def biases(self, kinds: tuple[RegionShape, ...]) -> BoxBiases:
        """Returns the biases of boxes of these kinds."""
        table = self.relative_position_bias_table
        if table.is_inference():  # has no version counter
            return self._make_biases(kinds)
        if self._kept is None or not self._kept.are_of(kinds, table):
            made = self._make_biases(kinds)
            self._kept = _Kept(kinds, table.detach(), table._version, made)
        return self._kept.biases

    @torch.inference_mode(False)
    @torch.no_grad()
    def _make_biases(self, kinds: tuple[RegionShape, ...]) -> BoxBiases:
        index, table = self.relative_position_index, self.relative_position_bias_table
        packed = []
        for kind in kinds:
            places = torch.from_numpy(kind.places).to(index.device)
            bias = table[index[places[:, None], places]]  # (L, L, heads)
            spare = padded(len(places)) - len(places)
            packed.append(F.pad(bias.permute(2, 0, 1), (0, spare), value=-torch.inf).flatten())
        return BoxBiases.of(torch.cat(packed), kinds, self.num_heads)
