"""A trunk for inputs of one shape: what its attention looks up lies there as buffers.

What is left are plain operations on tensors, which compilers, exporters and graph captures follow.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from extract.windowed import Plan, Size, WindowAttention, attend


class FixedAttention(nn.Module):
    """`WindowAttention` at one shape of input: its layers, and its plan as buffers."""

    def __init__(self, attention: WindowAttention, shape: Size) -> None:
        """Lays down the plan as the weights are now.

        Args:
            attention: whose layers are shared.
            shape: of its input, (B, T, H, W, C).
        """
        super().__init__()
        plan = attention.plan(shape)
        self.qkv, self.proj = attention.qkv, attention.proj
        self.is_padded, self.kind_rows = plan.is_padded, plan.kind_rows
        self.register_buffer("rows", plan.rows)
        self.register_buffer("places", plan.places)
        for i, bias in enumerate(plan.biases):
            self.register_buffer(f"bias_{i}", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the tokens learn from each other, (B, T, H, W, C), as x is."""
        biases = [self.get_buffer(f"bias_{i}") for i in range(len(self.kind_rows))]
        rows, places = self.get_buffer("rows"), self.get_buffer("places")
        plan = Plan(rows, places, self.is_padded, self.kind_rows, biases)
        return attend(x, plan, self.qkv, self.proj)


def fix(trunk: nn.Module, pixels: Tensor) -> nn.Module:
    """Returns a twin that shares the parameters and takes inputs of this shape only.

    A trunk without `WindowAttention` has nothing to lay down: its twin is an ordinary one. The
    biases are those of now; after a change of the weights, make another.

    Args:
        trunk: in evaluation mode.
        pixels: (B, 3, T, H, W), on the trunk's device and of its type; their values do not matter.
    """
    twin = copy.deepcopy(trunk, {id(tensor): tensor for tensor in trunk.parameters()})
    shapes: dict[str, Size] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes[name] = tuple(inputs[0].shape)

    attentions = {n: m for n, m in twin.named_modules() if isinstance(m, WindowAttention)}
    hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in attentions.items()]
    with torch.no_grad():
        if attentions:
            twin(pixels)
        for hook in hooks:
            hook.remove()
        for name, attention in attentions.items():
            twin.set_submodule(name, FixedAttention(attention, shapes[name]))
    return twin
