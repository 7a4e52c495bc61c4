"""ONNX graph of any network in torch, traced; weights are external tensors, as in `onnx_graph`.

Tracing follows one run: a network that decides by the values of its input has no such graph, and
the comparison in `onnx_export` finds out.
"""

import io
import warnings
from collections.abc import Mapping
from typing import Any, cast

import onnx
import torch
from onnx import ModelProto, TensorProto, helper

from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.onnx_graph import INPUT, OUTPUT, PRODUCER, StoredTensor, external

OPSET = 18
"""The newest that torch's tracer writes."""


def traced_graph(
    encoder: TorchEncoder, weights: Mapping[str, StoredTensor], file: str
) -> ModelProto:
    """Returns the graph for windows of the contract's size, of any number.

    Args:
        encoder: in float32.
        weights: position of each of its tensors in a file.
        file: name of that file.

    Raises:
        ValueError: the network cannot be traced.
    """
    sizes = (3, *encoder.contract.window_shape)
    try:
        traced = _trace(encoder, torch.zeros(2, *sizes, device=encoder.device))
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{encoder.name!r} cannot be written as an ONNX graph: {reason}"
        ) from error
    graph = traced.graph
    names = {value.name for value in graph.input}
    stored = [external(name, weights[name], file) for name in sorted(names & set(weights))]
    if lost := sorted(names - set(weights) - {INPUT}):
        raise ValueError(_refusal(encoder, f"{lost[0]} is none of its tensors"))
    made = helper.make_graph(
        list(graph.node),
        "encoder",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *sizes])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", encoder.dim])],
        [*stored, *graph.initializer],
    )
    return helper.make_model(made, producer_name=PRODUCER, opset_imports=traced.opset_import,
                             ir_version=traced.ir_version)  # fmt: skip


def _refusal(encoder: TorchEncoder, reason: str) -> str:
    return f"encoder {encoder.name!r} cannot be written as an ONNX graph: {reason}"


def _trace(encoder: TorchEncoder, pixels: torch.Tensor) -> ModelProto:
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer itself, and of every value it keeps
        torch.onnx.export(
            encoder.trunk,
            (pixels,),
            cast(Any, buffer),  # the tracer takes any file
            dynamo=False,
            export_params=False,
            do_constant_folding=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            opset_version=OPSET,
        )
    return onnx.load_model_from_string(buffer.getvalue())
