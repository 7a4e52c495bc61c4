"""Faster inference of shifted-window attention, on torchvision's parameters and with its numbers.

Tokens attend in boxes (see `window_boxes`) and are stored in the order of boxes: one gather per
block reorders them, and the rest of the block works on rows in place. On a CPU a block goes through
its rows slice by slice, so that intermediate results stay in the cache and memory is reused.
With gradients torchvision's own code runs, because fused attention on a CPU has none for its bias;
also when a graph is exported or compiled, because the caches here are not traced:
`static_shapes.specialise` makes a trunk for that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extract.encoders.swin import kernels
from extract.encoders.swin.fused_linear import Layer, add_product, linear, linear_add, linear_gelu
from extract.encoders.swin.token_layout import (
    BlockLayout,
    RowSlice,
    TokenLayout,
    lay_out,
)
from extract.encoders.swin.torchvision import (
    PatchEmbed3d,
    PatchMerging,
    SwinTransformerBlock,
)
from extract.encoders.swin.window_attention import BoxBiases, WindowAttention
from extract.encoders.swin.window_boxes import Size


@dataclass(frozen=True, eq=False)
class BlockLayers:
    """A block's layers, looked up once: the look-up takes longer than some layers do."""

    norm: nn.LayerNorm
    attention: WindowAttention
    qkv: Layer
    proj: Layer
    mlp_norm: nn.LayerNorm
    widen: Layer
    narrow: Layer

    @classmethod
    def of(cls, block: SwinTransformerBlock) -> "BlockLayers":
        """Returns the layers of a block in evaluation mode, where dropout is the identity."""
        at, mlp = block.attn, block.mlp
        return cls(block.norm1, at, at.qkv, at.proj, block.norm2, mlp[0], mlp[3])


def biases_of(blocks: Iterable[BlockLayers], layout: TokenLayout) -> list[BoxBiases]:
    """Returns the position biases of each block."""
    pairs = zip(blocks, layout.steps, strict=True)
    return [block.attention.biases(step.kinds) for block, step in pairs]


def run_blocks(
    x: Tensor,
    blocks: Iterable[BlockLayers],
    layout: TokenLayout,
    biases: Sequence[BoxBiases],
    *,
    in_kernels: bool = False,
) -> Tensor:
    """Returns tokens, (B, T, H, W, C), after the blocks of a stage.

    Args:
        x: (B, T, H, W, C) tokens.
        blocks: of the stage.
        layout: for x's shape.
        biases: see `biases_of`.
        in_kernels: attention, gather and norms in Triton's kernels.
    """
    rows = x.reshape(-1, x.shape[-1])  # (B*N, C)
    for block, step, of_block in zip(blocks, layout.steps, biases, strict=True):
        if in_kernels:
            rows = _run_in_kernels(rows, step, block, of_block.packed)
        else:
            rows = rows.index_select(0, step.rows)  # (R + spare, C)
            for part in step.slices:
                _run_block(rows, part, step, block, of_block.of_kinds)
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


def _run_in_kernels(rows: Tensor, step: BlockLayout, block: BlockLayers, biases: Tensor) -> Tensor:
    """Returns the rows of a step, (R, C), gathered from those before and put through a block."""
    stop = step.slices[-1].stop
    padding = None if step.padding is None else step.padding[:stop]
    x, normed = kernels.gather_norm(rows, step.rows[:stop], padding, block.norm, block.proj.bias)
    longest = max(len(kind.places) for kind in step.kinds)
    attended = kernels.box_attention(
        linear(normed, block.qkv), step.tiles, biases, block.attention.num_heads, longest
    )
    add_product(attended, block.proj, x)
    normed = kernels.norm_in_place(x, block.mlp_norm, block.narrow.bias)
    add_product(linear_gelu(normed, block.widen), block.narrow, x)
    return x


def attend(mixed: Tensor, runs: Iterable[tuple[int, int]], biases: Sequence[Tensor]) -> Tensor:
    """Returns attention of tokens within their boxes, (R, C).

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
            k, v = (_padded_view(tensor, keys) for tensor in (k, v))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=biases[kind])
        attended.append(seen.transpose(1, 2).reshape(count, width))
        start += count
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _padded_view(boxes: Tensor, length: int) -> Tensor:
    """Returns a view in which each box, (W, heads, L, d), extends into the next one's rows."""
    count, heads, _, head = boxes.shape
    return boxes.as_strided((count, heads, length, head), boxes.stride())


class WindowStage(nn.Sequential):
    """The blocks of a stage; in inference they run on reordered tokens (see `run_blocks`).

    Layers are looked up once. After replacing any, call `train()` or `eval()`.

    Attributes:
        in_kernels: they run in Triton's kernels.
    """

    in_kernels = False
    _kept: tuple[Size, torch.device, TokenLayout, list[BlockLayers]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, T, H, W, C).

        Args:
            x: (B, T, H, W, C) tokens.
        """
        if not is_inference(self):
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]
        if self._kept is None or self._kept[:2] != (x.shape, x.device):
            is_sliced = x.device.type == "cpu" and not self.in_kernels
            layout = self.layout(x.shape, x.device, is_sliced=is_sliced)
            self._kept = x.shape, x.device, layout, self.layers()
        *_, layout, layers = self._kept
        biases = biases_of(layers, layout)
        return run_blocks(x, layers, layout, biases, in_kernels=self.in_kernels)

    def train(self, mode: bool = True) -> "WindowStage":
        """Sets the mode, and drops the cached layers and layout."""
        self._kept = None
        super().train(mode)
        return self

    def layers(self) -> list[BlockLayers]:
        """Returns those of each block."""
        return [BlockLayers.of(block) for block in self]

    def layout(self, shape: Size, device: torch.device, *, is_sliced: bool) -> TokenLayout:
        """Returns the layout of tokens of this shape, (B, T, H, W, C)."""
        attentions = [block.attention for block in self.layers()]
        shifts = tuple(tuple(attention.shift_size) for attention in attentions)
        window = tuple(attentions[0].window_size)
        return lay_out(tuple(shape[:-1]), window, shifts, device, is_sliced=is_sliced)


class PatchEmbedding(PatchEmbed3d):  # type: ignore[misc]
    """torchvision's module, without a copy where no padding is needed."""

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
    """torchvision's module, with one copy where no padding is needed."""

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
    """Returns whether the fast path may run: evaluation without gradients or tracing."""
    return not (module.training or torch.is_grad_enabled() or torch.compiler.is_compiling())


def window_block(*sizes: Any, **options: Any) -> SwinTransformerBlock:
    """Returns torchvision's block with `WindowAttention`."""
    return SwinTransformerBlock(*sizes, **options | {"attn_layer": WindowAttention})
