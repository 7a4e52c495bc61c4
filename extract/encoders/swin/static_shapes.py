"""Static shapes: a trunk for inputs of one shape, with layouts and biases as buffers.

Its forward pass has plain tensor operations only, so it can be compiled, exported and captured.
"""

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from extract.encoders.swin.attention import BlockLayers, WindowStage, biases_of, run_blocks
from extract.encoders.swin.token_layout import BlockLayout, TokenLayout
from extract.encoders.swin.window_attention import BoxBiases
from extract.encoders.swin.window_boxes import Size


class FixedStage(nn.Module):
    """`WindowStage` at one shape of input: its blocks, and its layout and biases as buffers."""

    def __init__(self, stage: WindowStage, shape: Size, device: torch.device) -> None:
        """Computes the biases from the current weights.

        Args:
            stage: whose blocks are shared.
            shape: of its input, (B, T, H, W, C).
            device: of its input.
        """
        super().__init__()
        self.blocks = nn.ModuleList(stage)
        self._in_kernels = stage.in_kernels
        # Slices would make the graph longer and fuse less.
        self._layout = stage.layout(shape, device, is_sliced=False)
        self.register_buffer("back", self._layout.back)
        for i, step in enumerate(self._layout.steps):
            self.register_buffer(f"rows_{i}", step.rows)
            self.register_buffer(f"padding_{i}", step.padding)
        for i, of_block in enumerate(biases_of(stage.layers(), self._layout)):
            self.register_buffer(f"biases_{i}", of_block.packed)

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, T, H, W, C), as x is, after the blocks."""
        steps = [self._step(i, step) for i, step in enumerate(self._layout.steps)]
        layers = [BlockLayers.of(block) for block in self.blocks]
        biases = [
            BoxBiases.of(self.get_buffer(f"biases_{i}"), step.kinds, block.attention.num_heads)
            for i, (step, block) in enumerate(zip(steps, layers, strict=True))
        ]
        layout = TokenLayout(tuple(steps), self.get_buffer("back"))
        return run_blocks(x, layers, layout, biases, in_kernels=self._in_kernels)

    def _step(self, i: int, step: BlockLayout) -> BlockLayout:
        padding = None if step.padding is None else self.get_buffer(f"padding_{i}")
        return replace(step, rows=self.get_buffer(f"rows_{i}"), padding=padding)


def specialise(trunk: nn.Module, pixels: Tensor) -> nn.Module:
    """Returns a copy that shares the parameters and takes inputs of this shape only.

    A trunk without `WindowStage` is copied as it is. The biases are those of now, one set of
    tensors for copies of any batch size; after a change of the weights, make another copy.

    Args:
        trunk: in evaluation mode.
        pixels: (B, 3, T, H, W), on the trunk's device and of its type; their values do not matter.
    """
    shapes: dict[str, Size] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes[name] = tuple(inputs[0].shape)

    stages = {n: m for n, m in trunk.named_modules() if isinstance(m, WindowStage)}
    hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in stages.items()]
    with torch.no_grad():
        if stages:
            trunk(pixels)
        for hook in hooks:
            hook.remove()
        # Stages are not copied: position biases are kept in them, and shared by all shapes.
        shared = [*trunk.parameters(), *stages.values()]
        copied = copy.deepcopy(trunk, {id(item): item for item in shared})
        for name, stage in stages.items():
            copied.set_submodule(name, FixedStage(stage, shapes[name], pixels.device))
    return copied
