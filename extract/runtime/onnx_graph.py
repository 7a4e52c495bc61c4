"""ONNX graph of the video Swin trunk, written node by node from its configuration.

It computes the trunk's numbers in another layout, chosen by measurement. Tokens are rows of one
matrix, so that a linear layer is one Gemm; attention is in boxes of neighbours (see
`window_boxes`), without masks; uint8 frames are the input, and their normalisation is part of the
patch embedding. Subgraphs of weights alone are folded when a session is created.

Weights are external tensors: they keep their names and point into the safetensors file beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from extract.contract import FeatureContract
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.swin.window_boxes import RegionShape, Size, box_kinds

INPUT, OUTPUT = "windows", "features"
PRODUCER = "extract.onnx_graph"  # part of the bytes of stored graphs
OPSET, IR_VERSION = 23, 10  # the first with an operator for attention


@dataclass(frozen=True)
class StoredTensor:
    """Position of a float32 tensor in a file.

    Attributes:
        shape: of the tensor.
        offset: its first byte.
        length: bytes.
    """

    shape: tuple[int, ...]
    offset: int
    length: int


def takes_bytes(config: SwinConfig, contract: FeatureContract) -> bool:
    """Returns whether the graph takes (B, T, H, W, 3) uint8, not (B, 3, T, H, W) float32.

    It does when frames come in their final size and patches cover them exactly.
    """
    sizes = contract.window_shape
    is_covered = not any(n % p for n, p in zip(sizes, config.patch, strict=True))
    return contract.resize == "decoder" and is_covered


def swin_graph(
    config: SwinConfig, contract: FeatureContract, weights: Mapping[str, StoredTensor], file: str
) -> ModelProto:
    """Returns the graph for windows of one size, of any number."""
    writer = _SwinWriter(config, contract)
    writer.write()
    frames, height, width = contract.window_shape
    shape: list[str | int]
    if takes_bytes(config, contract):
        kind, shape = TensorProto.UINT8, ["batch", frames, height, width, 3]
    else:
        kind, shape = TensorProto.FLOAT, ["batch", 3, frames, height, width]
    used = {name for node in writer.nodes for name in node.input}
    stored = [external(n, weights[n], file) for n in sorted(used & set(weights))]
    graph = helper.make_graph(
        writer.nodes,
        "encoder",
        [helper.make_tensor_value_info(INPUT, kind, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", config.dim])],
        [*stored, *writer.constants],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph,
        opset_imports=opset,
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )


def external(name: str, stored: StoredTensor, file: str) -> TensorProto:
    """Returns a graph's tensor whose numbers are in a file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=stored.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", stored.offset), ("length", stored.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


class _Writer:
    """Nodes in order, and the constants they use."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []
        self._kept: dict[tuple[str, Size, bytes], str] = {}

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Adds a node and returns the names of its outputs."""
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its only output."""
        return self.add(kind, *inputs, **attributes)[0]

    def constant(self, values: NDArray[Any]) -> str:
        """Returns the name of an array; equal ones are stored once."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._kept:
            self._kept[key] = f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(values, self._kept[key]))
        return self._kept[key]

    def sizes(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def rows(self, values: NDArray[np.int64]) -> str:
        return self.constant(values.astype(np.int32))

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.sizes(*shape))

    def linear(self, x: str, name: str) -> str:
        return self.op("Gemm", x, f"{name}.weight", f"{name}.bias", transB=1)

    def norm(self, x: str, name: str) -> str:
        return self.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", epsilon=1e-5)


class _SwinWriter(_Writer):
    """Follows torchvision's `SwinTransformer3d`, whose names its tensors have."""

    def __init__(self, config: SwinConfig, contract: FeatureContract) -> None:
        super().__init__()
        self.config, self.contract = config, contract
        self.grid = tuple(
            -(-n // p) for n, p in zip(contract.window_shape, config.patch, strict=True)
        )
        self.width = config.width

    def write(self) -> None:
        config = self.config
        x = self._embed_bytes() if takes_bytes(config, self.contract) else self._embed_floats()
        x = self.norm(x, "patch_embed.norm")  # (B*N, C) from here on
        for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            if stage:
                x = self._merge(x, f"features.{2 * stage - 1}")
            for block in range(depth):
                shift = tuple(n // 2 if block % 2 else 0 for n in config.window)
                x = self._block(x, f"features.{2 * stage}.{block}", heads, shift)
        x = self.reshape(self.norm(x, "norm"), -1, prod(self.grid), self.width)
        mean = self.op("ReduceMean", x, self.sizes(1), keepdims=0)
        self.nodes.append(helper.make_node("Identity", [mean], [OUTPUT]))

    def _embed_bytes(self) -> str:
        """Patches as rows times weights that also normalise: (v / 255 - mean) / std is linear."""
        weight, bias = "patch_embed.proj.weight", "patch_embed.proj.bias"
        mean, std = (
            self.constant(255 * np.array(v, np.float32).reshape(1, 3, 1, 1, 1))
            for v in (self.contract.mean, self.contract.std)
        )
        scaled = self.op("Div", weight, std)  # (C, 3, t, h, w)
        offset = self.op("ReduceSum", self.op("Mul", scaled, mean), self.sizes(1, 2, 3, 4))
        bias = self.op("Sub", bias, self.reshape(offset, -1))
        scaled = self.reshape(self.op("Transpose", scaled, perm=[0, 2, 3, 4, 1]), self.width, -1)
        (t, h, w), (frames, rows, columns) = self.config.patch, self.grid
        x = self.reshape(INPUT, -1, frames, t, rows, h, columns, w * 3)
        x = self.op("Transpose", x, perm=[0, 1, 3, 5, 2, 4, 6])
        x = self.reshape(self.op("Cast", x, to=TensorProto.FLOAT), -1, t * h * w * 3)
        return self.op("Gemm", x, scaled, bias, transB=1)

    def _embed_floats(self) -> str:
        """Torchvision's convolution, padded with zeros at the end."""
        patch, names = self.config.patch, ("patch_embed.proj.weight", "patch_embed.proj.bias")
        padding = [-n % p for n, p in zip(self.contract.window_shape, patch, strict=True)]
        x = self.op("Conv", INPUT, *names, strides=patch, pads=[0, 0, 0, *padding])
        return self.reshape(self.op("Transpose", x, perm=[0, 2, 3, 4, 1]), -1, self.width)

    def _merge(self, x: str, name: str) -> str:
        """Four neighbours become one token, in the order (0, 0), (1, 0), (0, 1), (1, 1)."""
        frames, rows, columns = self.grid
        x = self.reshape(x, -1, *self.grid, self.width)
        if rows % 2 or columns % 2:
            x = self.op("Pad", x, self.sizes(*[0] * 7, rows % 2, columns % 2, 0))
        self.grid = frames, -(-rows // 2), -(-columns // 2)
        x = self.reshape(x, -1, frames, self.grid[1], 2, self.grid[2], 2, self.width)
        x = self.op("Transpose", x, perm=[0, 1, 2, 4, 5, 3, 6])
        x = self.norm(self.reshape(x, -1, 4 * self.width), f"{name}.norm")
        self.width *= 2
        return self.op("Gemm", x, f"{name}.reduction.weight", transB=1)

    def _block(self, x: str, name: str, heads: int, shift: Size) -> str:
        attended = self._attend(self.norm(x, f"{name}.norm1"), f"{name}.attn", heads, shift)
        x = self.op("Add", x, attended)
        hidden = self.op("Gelu", self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.0"))
        return self.op("Add", x, self.linear(hidden, f"{name}.mlp.3"))

    def _attend(self, x: str, name: str, heads: int, shift: Size) -> str:
        """Gathers each kind's boxes, computes their attention, and restores the order of tokens."""
        kinds, num_tokens = box_kinds(self.grid, self.config.window, shift), prod(self.grid)
        rows = np.concatenate([kind.tokens.ravel() for kind in kinds])
        places = np.empty(num_tokens + 1, np.int64)  # the last one is padding's
        places[rows] = np.arange(len(rows))
        x = self.reshape(x, -1, num_tokens, self.width)
        if len(rows) > num_tokens:
            x = self.op("Pad", x, self.sizes(0, 0, 0, 0, 1, 0))
        weights = self.add("Split", f"{name}.qkv.weight", outputs=3, axis=0, num_outputs=3)
        biases = self.add("Split", f"{name}.qkv.bias", outputs=3, axis=0, num_outputs=3)
        qkv = list(zip(weights, biases, strict=True))
        attended = [self._attend_in_boxes(x, kind, name, heads, qkv) for kind in kinds]
        x = self.op("Concat", *attended, axis=1)
        return self.reshape(self.op("Gather", x, self.rows(places[:-1]), axis=1), -1, self.width)

    def _attend_in_boxes(
        self, x: str, kind: RegionShape, name: str, heads: int, qkv: Sequence[tuple[str, str]]
    ) -> str:
        """(B, N, C) -> (B, W*L, C) for the boxes of one kind."""
        count, length = kind.tokens.shape
        x = self.op("Gather", x, self.rows(kind.tokens.ravel()), axis=1)
        x = self.reshape(x, -1, self.width)
        q, k, v = (
            self.reshape(self.op("Gemm", x, w, b, transB=1), -1, length, self.width) for w, b in qkv
        )
        table = f"{name}.relative_position_bias_table"
        bias = self.op("Gather", table, self.rows(bias_rows(kind.places, self.config.window)))
        bias = self.op("Transpose", bias, perm=[2, 0, 1])  # (heads, L, L)
        bias = self.op("Unsqueeze", bias, self.sizes(0))
        x = self.op("Attention", q, k, v, bias, q_num_heads=heads, kv_num_heads=heads)
        x = self.linear(self.reshape(x, -1, self.width), f"{name}.proj")
        return self.reshape(x, -1, count * length, self.width)


def bias_rows(places: NDArray[np.int64], window: Size) -> NDArray[np.int64]:
    """Returns the bias table's row for each (query, key), (L, L).

    Args:
        places: (L,) positions of the tokens in their window.
        window: of the trunk.
    """
    at = np.stack(np.unravel_index(places, window))  # (3, L)
    differences = at[:, :, None] - at[:, None, :] + np.array(window).reshape(3, 1, 1) - 1
    return np.asarray(np.ravel_multi_index(tuple(differences), [2 * w - 1 for w in window]))
