"""Attention in windows on torchvision's parameters: the same numbers, sooner.

Tokens attend in boxes (see `boxes`), and within a stage they lie in the order of boxes: one gather
brings them from one block's order into the next one's, and all else in a block takes them as rows,
where they lie. On a CPU a block goes through its rows slice by slice, so that what it makes of a
slice is still in the cache when it is needed, and memory is reused rather than asked for.
Where there are gradients torchvision's own code runs, because fused attention on a CPU has none for
its bias; and where a graph is exported or compiled too, because what is kept here is not traced:
`fixed` makes a trunk for that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torchvision.models.video.swin_transformer import PatchEmbed3d, ShiftedWindowAttention3d

from extract.encoders.swin.fused_linear import linear, linear_add, linear_gelu
from extract.encoders.swin.token_layout import (
    BlockLayout,
    RowSlice,
    TokenLayout,
    lay_out,
    simd_width,
)
from extract.encoders.swin.window_boxes import RegionShape, Size


@dataclass(frozen=True, eq=False)
class _Biases:
    """Position biases, and what they were made of."""

    kinds: tuple[RegionShape, ...]
    table: Tensor
    version: int
    biases: list[Tensor]

    def are_of(self, kinds: tuple[RegionShape, ...], table: Tensor) -> bool:
        # The old table is held here, so that no other can have come to its address.
        same = self.table.data_ptr() == table.data_ptr() and self.version == table._version
        return self.kinds is kinds and same


class WindowAttention(ShiftedWindowAttention3d):  # type: ignore[misc]
    """torchvision's module and parameters, which keeps its position biases.

    They are kept until their table changes. An edit through `.data` leaves no trace: call
    `train()` or `eval()` after one.
    """

    _kept: _Biases | None = None

    def train(self, mode: bool = True) -> "WindowAttention":
        """Sets the mode, and forgets the biases."""
        self._kept = None
        super().train(mode)
        return self

    def biases(self, kinds: tuple[RegionShape, ...]) -> list[Tensor]:
        """Returns (1, heads, L, K) for each kind: L queries, and on a CPU a few hidden keys more.

        Args:
            kinds: of boxes.
        """
        table = self.relative_position_bias_table
        if table.is_inference():  # its changes are not counted
            return self._make_biases(kinds)
        if self._kept is None or not self._kept.are_of(kinds, table):
            made = self._make_biases(kinds)
            self._kept = _Biases(kinds, table.detach(), table._version, made)
        return self._kept.biases

    def _make_biases(self, kinds: tuple[RegionShape, ...]) -> list[Tensor]:
        index, table = self.relative_position_index, self.relative_position_bias_table
        biases = []
        for kind in kinds:
            places = torch.from_numpy(kind.places).to(index.device)
            bias = table[index[places[:, None], places]]  # (L, L, heads)
            bias = bias.permute(2, 0, 1).contiguous().unsqueeze(0)
            biases.append(
                F.pad(bias, (0, -len(places) % simd_width(bias.device)), value=-torch.inf)
            )
        return biases


@dataclass(frozen=True, eq=False)
class BlockLayers:
    """A block's layers: to look them up in modules takes longer than some of them do."""

    norm: nn.LayerNorm
    attention: WindowAttention
    qkv: nn.Linear
    proj: nn.Linear
    mlp_norm: nn.LayerNorm
    widen: nn.Linear
    narrow: nn.Linear

    @classmethod
    def of(cls, block: SwinTransformerBlock) -> "BlockLayers":
        """Returns the layers of a block in evaluation mode, without what does nothing there."""
        at, mlp = block.attn, block.mlp
        return cls(block.norm1, at, at.qkv, at.proj, block.norm2, mlp[0], mlp[3])


def biases_of(blocks: Iterable[BlockLayers], layout: TokenLayout) -> list[list[Tensor]]:
    """Returns the position biases of each block, of each kind of its boxes."""
    pairs = zip(blocks, layout.steps, strict=True)
    return [block.attention.biases(step.kinds) for block, step in pairs]


def run_blocks(
    x: Tensor,
    blocks: Iterable[BlockLayers],
    layout: TokenLayout,
    biases: Sequence[Sequence[Tensor]],
) -> Tensor:
    """Returns tokens, (B, T, H, W, C), after the blocks of a stage.

    Args:
        x: (B, T, H, W, C) tokens.
        blocks: of the stage.
        layout: for x's shape.
        biases: see `biases_of`.
    """
    rows = x.reshape(-1, x.shape[-1])  # (B*N, C)
    for block, step, of_kinds in zip(blocks, layout.steps, biases, strict=True):
        rows = rows.index_select(0, step.rows)  # (R + spare, C)
        for part in step.slices:
            _run_block(rows, part, step, block, of_kinds)
    return rows.index_select(0, layout.back).view(x.shape)


def _run_block(
    rows: Tensor, part: RowSlice, step: BlockLayout, block: BlockLayers, biases: Sequence[Tensor]
) -> None:
    """Puts a slice of the rows, (R + spare, C), through a block, in place."""
    x = rows[part.start : part.stop]
    seen = slice(part.start, part.stop + step.spare)
    normed = block.norm(rows[seen])
    if step.padding is not None:
        normed.masked_fill_(step.padding[seen], 0.0)
    attended = attend(linear(normed, block.qkv), part.runs, biases)
    linear_add(attended, block.proj, x)
    widened = linear_gelu(block.mlp_norm(x), block.widen)
    linear_add(widened, block.narrow, x)


def attend(mixed: Tensor, runs: Iterable[tuple[int, int]], biases: Sequence[Tensor]) -> Tensor:
    """Returns what tokens learn from each other in their boxes, (R, C).

    Args:
        mixed: (R + spare, 3*C) queries, keys and values of each head.
        runs: (kind of box, rows), R rows in all.
        biases: (1, heads, L, K) for each kind.
    """
    width, heads = mixed.shape[-1] // 3, biases[0].shape[1]
    attended, start = [], 0
    for kind, count in runs:
        length, keys = biases[kind].shape[-2:]
        boxes = mixed[start : start + count].view(-1, length, 3, heads, width // heads)
        q, k, v = boxes.permute(2, 0, 3, 1, 4).unbind()  # (W, heads, L, C / heads) each
        if keys > length:
            k, v = (_longer(tensor, keys) for tensor in (k, v))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=biases[kind])
        attended.append(seen.transpose(1, 2).reshape(count, width))
        start += count
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _longer(boxes: Tensor, length: int) -> Tensor:
    """Lets each box, (W, heads, L, d), go on into the rows of the next one, without a copy."""
    count, heads, _, head = boxes.shape
    return boxes.as_strided((count, heads, length, head), boxes.stride())


class WindowStage(nn.Sequential):
    """The blocks of a stage; in inference, tokens go our way through them.

    Layers are looked up once. After putting others in their place call `train()` or `eval()`.
    """

    _kept: tuple[Size, torch.device, TokenLayout, list[BlockLayers]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, T, H, W, C).

        Args:
            x: (B, T, H, W, C) tokens.
        """
        if not is_inference(self):
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]
        if self._kept is None or self._kept[:2] != (x.shape, x.device):
            layout = self.layout(x.shape, x.device, is_sliced=x.device.type == "cpu")
            self._kept = x.shape, x.device, layout, self.layers()
        *_, layout, layers = self._kept
        return run_blocks(x, layers, layout, biases_of(layers, layout))

    def train(self, mode: bool = True) -> "WindowStage":
        """Sets the mode, and forgets what was looked up."""
        self._kept = None
        super().train(mode)
        return self

    def layers(self) -> list[BlockLayers]:
        """Returns those of each block."""
        return [BlockLayers.of(block) for block in self]

    def layout(self, shape: Size, device: torch.device, *, is_sliced: bool) -> TokenLayout:
        """Returns the way of tokens of this shape, (B, T, H, W, C)."""
        attentions = [block.attention for block in self.layers()]
        shifts = tuple(tuple(attention.shift_size) for attention in attentions)
        window = tuple(attentions[0].window_size)
        return lay_out(tuple(shape[:-1]), window, shifts, device, is_sliced=is_sliced)


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


class Merging(PatchMerging):  # type: ignore[misc]
    """torchvision's module, but neighbours come together in one copy where none is missing."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens of four, (B, T, H', W', 2*C).

        Args:
            x: (B, T, H, W, C) tokens.
        """
        B, T, H, W, C = x.shape
        if H % 2 or W % 2:
            return super().forward(x)  # type: ignore[no-any-return]
        pairs = x.view(B, T, H // 2, 2, W // 2, 2, C)
        fours = pairs.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)  # a column, then the next one
        merged: Tensor = self.reduction(self.norm(fours))
        return merged


def is_inference(module: nn.Module) -> bool:
    """Says whether our own way may be taken: nothing is learnt, and no graph traced."""
    return not (module.training or torch.is_grad_enabled() or torch.compiler.is_compiling())


def window_block(*sizes: Any, **options: Any) -> SwinTransformerBlock:
    """Returns torchvision's block with our attention, whatever attention it asks for."""
    return SwinTransformerBlock(*sizes, **options | {"attn_layer": WindowAttention})
