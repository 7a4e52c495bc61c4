"""A trunk for inputs of one shape: what its stages look up lies there as buffers.

What is left are plain operations on tensors, which compilers, exporters and graph captures follow.
"""

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from extract.encoders.swin.attention import BlockLayers, WindowStage, biases_of, run_blocks
from extract.encoders.swin.token_layout import BlockLayout, TokenLayout
from extract.encoders.swin.window_boxes import Size


class FixedStage(nn.Module):
    """`WindowStage` at one shape of input: its blocks, and its layout and biases as buffers."""

    def __init__(self, stage: WindowStage, shape: Size, device: torch.device) -> None:
        """Lays down the biases as the weights are now.

        Args:
            stage: whose blocks are shared.
            shape: of its input, (B, T, H, W, C).
            device: of its input.
        """
        super().__init__()
        self.blocks = nn.ModuleList(stage)
        # In slices a graph would be long, and what is fused across them little.
        self._layout = stage.layout(shape, device, is_sliced=False)
        self.register_buffer("back", self._layout.back)
        for i, step in enumerate(self._layout.steps):
            self.register_buffer(f"rows_{i}", step.rows)
            self.register_buffer(f"padding_{i}", step.padding)
        for i, of_kinds in enumerate(biases_of(stage.layers(), self._layout)):
            for j, bias in enumerate(of_kinds):
                self.register_buffer(f"bias_{i}_{j}", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, T, H, W, C), as x is, after the blocks."""
        steps = [self._step(i, step) for i, step in enumerate(self._layout.steps)]
        biases = [
            [self.get_buffer(f"bias_{i}_{j}") for j in range(len(step.kinds))]
            for i, step in enumerate(steps)
        ]
        layout = TokenLayout(tuple(steps), self.get_buffer("back"))
        return run_blocks(x, [BlockLayers.of(block) for block in self.blocks], layout, biases)

    def _step(self, i: int, step: BlockLayout) -> BlockLayout:
        padding = None if step.padding is None else self.get_buffer(f"padding_{i}")
        return replace(step, rows=self.get_buffer(f"rows_{i}"), padding=padding)


def specialise(trunk: nn.Module, pixels: Tensor) -> nn.Module:
    """Returns a twin that shares the parameters and takes inputs of this shape only.

    A trunk without `WindowStage` has nothing to lay down: its twin is an ordinary one. The
    biases are those of now; after a change of the weights, make another.

    Args:
        trunk: in evaluation mode.
        pixels: (B, 3, T, H, W), on the trunk's device and of its type; their values do not matter.
    """
    twin = copy.deepcopy(trunk, {id(tensor): tensor for tensor in trunk.parameters()})
    shapes: dict[str, Size] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes[name] = tuple(inputs[0].shape)

    stages = {n: m for n, m in twin.named_modules() if isinstance(m, WindowStage)}
    hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in stages.items()]
    with torch.no_grad():
        if stages:
            twin(pixels)
        for hook in hooks:
            hook.remove()
        for name, stage in stages.items():
            twin.set_submodule(name, FixedStage(stage, shapes[name], pixels.device))
    return twin
