"""Attention in windows on torchvision's parameters: the same numbers, sooner.

A shifted window that wraps around the grid holds tokens that are no neighbours, and torchvision
masks those. Here such a window is cut into boxes of neighbours, and every box attends by itself:
nothing is masked, and less is multiplied. Where tokens go depends on the grid alone and is found
once; a pass is then one gather, fused attention over all boxes of a kind, and one gather back.
Where there are gradients torchvision's own code runs, because fused attention on a CPU has none for
its bias; and where a graph is exported or compiled too, because what is kept here is not traced:
`fixed` makes a trunk for that.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import PatchEmbed3d, ShiftedWindowAttention3d

from extract.fused import add, linear, linear_add, linear_gelu

Size = tuple[int, ...]
"""Tokens along time, height and width."""


@dataclass(frozen=True, eq=False)
class BoxKind:
    """Boxes of one size, with the same position biases.

    Attributes:
        places: (L,) where the tokens of such a box are in their window.
        tokens: (W, L) the tokens of each box; N, the size of the grid, stands for padding.
    """

    places: NDArray[np.int64]
    tokens: NDArray[np.int64]


@lru_cache(maxsize=64)
def box_kinds(grid: Size, window: Size, shift: Size) -> tuple[BoxKind, ...]:
    """Returns the boxes that the windows of a grid consist of; a token is in exactly one.

    Along an axis not longer than the window, the window shrinks to the axis and is not shifted.
    Other axes are padded at their end to whole windows, and padding is seen like any token.

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
    # Two places' bias depends on the difference of their codes. Like torchvision's, a shrunk
    # window takes the first places of the whole one, although those may be elsewhere in space.
    codes = np.ravel_multi_index(
        np.unravel_index(places.ravel(), window), [2 * w - 1 for w in window]
    )
    kinds: dict[bytes, tuple[NDArray[np.int64], list[NDArray[np.int64]]]] = {}
    for spans in product(*map(_spans, tokens.shape, size, moved)):
        in_grid, in_window = zip(*spans, strict=True)
        box = places[in_window].ravel()
        differences = codes[box] - codes[box[0]]
        kinds.setdefault(differences.tobytes(), (box, []))[1].append(tokens[in_grid].ravel())
    return tuple(BoxKind(box, np.stack(boxes)) for box, boxes in kinds.values())


def _spans(length: int, window: int, shift: int) -> list[tuple[slice, slice]]:
    """Cuts an axis; returns what each box has of the grid, and of its window."""
    starts = range(shift, length - window + 1, window)
    spans = [(slice(i, i + window), slice(0, window)) for i in starts]
    if shift:  # the last window has the end of the axis, and after it the beginning
        kept = window - shift
        spans.append((slice(length - kept, length), slice(0, kept)))
        spans.append((slice(0, shift), slice(kept, window)))
    return spans


@lru_cache(maxsize=32)
def _rows(
    kinds: tuple[BoxKind, ...], batch: int, num_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which row goes into each place of each box, (R,), and from where it comes back, (B*N,).

    A row is a token of the batch; row B*N is padding. Places are in order of kinds, then of the
    batch, so that all boxes of a kind are one view.
    """
    end = batch * num_tokens
    first = num_tokens * np.arange(batch)[:, None, None]
    rows = np.concatenate(
        [np.where(k.tokens == num_tokens, end, k.tokens + first).ravel() for k in kinds]
    )
    places = np.empty(end + 1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return torch.from_numpy(rows).to(device), torch.from_numpy(places[:end]).to(device)


@dataclass(frozen=True, eq=False)
class _Biases:
    """Position biases, and what they were made of."""

    kinds: tuple[BoxKind, ...]
    table: Tensor
    version: int
    biases: list[Tensor]

    def are_of(self, kinds: tuple[BoxKind, ...], table: Tensor) -> bool:
        # The old table is held here, so that no other can have come to its address.
        same = self.table.data_ptr() == table.data_ptr() and self.version == table._version
        return self.kinds is kinds and same


@dataclass(frozen=True, eq=False)
class Plan:
    """All that attention looks up at one shape of input.

    Attributes:
        rows: (R,) which row goes into each place of each box; see `_rows`.
        places: (B*N,) from where a row comes back.
        is_padded: the rows name one more than there are.
        kind_rows: rows of each kind of box; their sum is R.
        biases: (1, heads, L, L) of each kind.
    """

    rows: Tensor
    places: Tensor
    is_padded: bool
    kind_rows: list[int]
    biases: list[Tensor]


def attend(x: Tensor, plan: Plan, qkv: nn.Linear, proj: nn.Linear) -> Tensor:
    """Returns what the tokens learn from each other in their boxes, (B, T, H, W, C), as x is."""
    heads, head = plan.biases[0].shape[1], x.shape[-1] // plan.biases[0].shape[1]
    tokens = x.reshape(-1, x.shape[-1])  # (B*N, C)
    if plan.is_padded:
        tokens = F.pad(tokens, (0, 0, 0, 1))
    mixed = linear(tokens.index_select(0, plan.rows), qkv)  # (R, 3*C)
    attended = []
    for part, bias in zip(mixed.split(plan.kind_rows), plan.biases, strict=True):
        boxes = part.view(-1, bias.shape[-1], 3, heads, head)
        q, k, v = boxes.permute(2, 0, 3, 1, 4)  # (B*W, heads, L, C / heads) each
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        attended.append(seen.transpose(1, 2).flatten(2).flatten(0, 1))
    gathered = attended[0] if len(attended) == 1 else torch.cat(attended)  # (R, C)
    return linear(gathered, proj).index_select(0, plan.places).view(x.shape)


class WindowAttention(ShiftedWindowAttention3d):  # type: ignore[misc]
    """torchvision's module and parameters, and in inference our way through them.

    Biases are kept until their table changes. An edit through `.data` leaves no trace: call
    `train()` or `eval()` after one.
    """

    _kept: _Biases | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the tokens learn from each other, (B, T, H, W, C).

        Args:
            x: (B, T, H, W, C) normalised tokens.
        """
        if not infers(self):
            return super().forward(x)  # type: ignore[no-any-return]
        return attend(x, self.plan(x.shape), self.qkv, self.proj)

    def plan(self, shape: Size) -> Plan:
        """Returns what tokens of this shape, (B, T, H, W, C), need."""
        batch, *grid, _ = shape
        kinds = box_kinds(tuple(grid), tuple(self.window_size), tuple(self.shift_size))
        rows, places = _rows(kinds, batch, prod(grid), self.qkv.weight.device)
        return Plan(
            rows,
            places,
            is_padded=len(rows) > len(places),
            kind_rows=[batch * kind.tokens.size for kind in kinds],
            biases=self._biases(kinds),
        )

    def train(self, mode: bool = True) -> "WindowAttention":
        """Sets the mode, and forgets the biases."""
        self._kept = None
        super().train(mode)
        return self

    def _biases(self, kinds: tuple[BoxKind, ...]) -> list[Tensor]:
        """Returns (1, heads, L, L) for each kind."""
        table = self.relative_position_bias_table.detach()
        if table.is_inference():  # its changes are not counted
            return self._make_biases(kinds)
        if self._kept is None or not self._kept.are_of(kinds, table):
            self._kept = _Biases(kinds, table, table._version, self._make_biases(kinds))
        return self._kept.biases

    def _make_biases(self, kinds: tuple[BoxKind, ...]) -> list[Tensor]:
        index, table = self.relative_position_index, self.relative_position_bias_table
        biases = []
        for kind in kinds:
            places = torch.from_numpy(kind.places).to(index.device)
            bias = table[index[places[:, None], places]]  # (L, L, heads)
            biases.append(bias.permute(2, 0, 1).contiguous().unsqueeze(0))
        return biases


class PatchEmbedding(PatchEmbed3d):  # type: ignore[misc]
    """torchvision's module, but pixels are not copied where there is nothing to pad."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, T', H', W', C).

        Args:
            x: (B, 3, T, H, W) pixels.
        """
        tokens: Tensor
        if any(n % p for n, p in zip(x.shape[2:], self.tuple_patch_size, strict=True)):
            tokens = super().forward(x)
        else:
            tokens = self.norm(self.proj(x).permute(0, 2, 3, 4, 1))
        return tokens


class WindowBlock(SwinTransformerBlock):  # type: ignore[misc]
    """torchvision's block; in inference, its sums and its GELU come with the linear layers."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the tokens after attention and MLP, (B, T, H, W, C)."""
        if not infers(self):
            return super().forward(x)  # type: ignore[no-any-return]
        x = add(self.attn(self.norm1(x)), x)
        widened = linear_gelu(self.norm2(x), self.mlp[0])
        return linear_add(widened, self.mlp[3], x)


def infers(module: nn.Module) -> bool:
    """Says whether our own way may be taken: nothing is learnt, and no graph traced."""
    return not (module.training or torch.is_grad_enabled() or torch.compiler.is_compiling())


def window_block(*sizes: Any, **options: Any) -> WindowBlock:
    """Returns torchvision's block with our attention, whatever attention it asks for."""
    return WindowBlock(*sizes, **options | {"attn_layer": WindowAttention})
