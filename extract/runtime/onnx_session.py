"""Sessions of ONNX Runtime: providers and their settings, and runs on a GPU's memory as it lies."""

import ctypes
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto
from torch import Tensor

from extract.errors import RuntimeUnavailable

# Read at import; telemetry would write to the temporary folder and report to Microsoft.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

VERSION: str = onnxruntime.__version__

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Provider in settings -> provider in ONNX Runtime."""

_HOME = {
    name: torch.device("cpu") if name == "cpu" else torch.device("cuda", 0) for name in PROVIDERS
}

ENGINE_WINDOWS = (1, 16, 64)
"""Windows in a call that an engine of TensorRT is built for: least, most often, most."""

_CUDA_OPTIONS: dict[str, int | str] = {
    "use_tf32": 0,  # features of float32 are those of torch, to 1e-5
    "cudnn_conv_algo_search": "HEURISTIC",  # else each new batch size is searched for
    "arena_extend_strategy": "kSameAsRequested",  # else memory doubles, which torch shares
}

_TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")

ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(onnxruntime_pybind11_state).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""What ONNX Runtime raises."""


def available_providers() -> list[str]:
    """Returns which of `PROVIDERS` this installation of ONNX Runtime has."""
    there = onnxruntime.get_available_providers()
    return [name for name, theirs in PROVIDERS.items() if theirs in there]


class GraphRun:
    """A session with one input and one output, and the stream that it computes on.

    On a GPU inputs and outputs are torch's tensors, bound where they lie (IOBinding), and the call
    returns before the work is done, as torch's do.

    Attributes:
        input: shape after the batch.
        takes_bytes: whether the input is uint8, not float32.
        output: shape after the batch.
        device: of inputs and outputs.
    """

    def __init__(
        self,
        graph: bytes,
        tensors: Mapping[str, Tensor],
        *,
        provider: str = "cpu",
        device: torch.device,
        cache: Path | None = None,
    ) -> None:
        """Creates the session; the graph's external tensors are `tensors`.

        Args:
            graph: with external tensors, of whatever files.
            tensors: name -> value.
            provider: of `PROVIDERS`.
            device: GPU of the provider; of another device the first GPU.
            cache: folder of TensorRT's engines, which take minutes to build; None keeps none.

        Raises:
            RuntimeUnavailable: the provider is not installed, or does not start.
            ValueError: the graph is invalid, or names other tensors.
        """
        if provider not in available_providers():
            raise RuntimeUnavailable(
                f"this ONNX Runtime has no {provider} provider, it has "
                f"{', '.join(available_providers())}; onnxruntime-gpu (the gpu extra) brings cuda "
                "and tensorrt"
            )
        self.device = device if provider != "cpu" and device.type == "cuda" else _HOME[provider]
        self._provider = provider
        self._stream: Any = None
        if provider != "cpu":
            # Of its own: ONNX Runtime takes torch's default stream, which is 0, for none.
            self._stream = torch.cuda.Stream(self.device)
        self._session = _open(graph, tensors, provider, self.device, self._stream, cache)
        (taken,), (made,) = self._session.get_inputs(), self._session.get_outputs()
        self._names = taken.name, made.name
        self.takes_bytes = taken.type == "tensor(uint8)"
        self.input, self.output = tuple(taken.shape[1:]), tuple(made.shape[1:])
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def on_host(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the output, (B, ...) float32, of an input in main memory.

        Raises:
            RuntimeUnavailable: the provider failed.
        """
        try:
            (made,) = self._session.run(None, {self._names[0]: inputs})
        except ERRORS as error:
            raise self._failed(len(inputs), error) from error
        return np.asarray(made, np.float32)

    def on_device(self, inputs: Tensor) -> Tensor:
        """Returns the output, (B, ...) float32, of an input on `device`, on torch's stream.

        Raises:
            RuntimeUnavailable: the provider failed.
        """
        if self._stream is None:
            return self._run_bound(inputs)
        callers = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(callers)
        inputs.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            made = self._run_bound(inputs)
        callers.wait_stream(self._stream)
        made.record_stream(callers)
        return made

    def _run_bound(self, inputs: Tensor) -> Tensor:
        inputs = inputs.contiguous()
        made = torch.empty(len(inputs), *self.output, device=inputs.device)
        binding = self._session.io_binding()
        ends = ((binding.bind_input, inputs), (binding.bind_output, made))
        for name, (bind, tensor) in zip(self._names, ends, strict=True):
            number = np.uint8 if tensor.dtype == torch.uint8 else np.float32
            where = tensor.device.type, tensor.device.index or 0
            bind(name, *where, number, tuple(tensor.shape), tensor.data_ptr())
        try:
            self._session.run_with_iobinding(binding, self._options)
        except ERRORS as error:
            raise self._failed(len(inputs), error) from error
        return made

    def _failed(self, windows: int, error: Exception) -> RuntimeUnavailable:
        return RuntimeUnavailable(
            f"ONNX Runtime's {self._provider} provider failed on {windows} windows: {error}"
        )


def _open(
    graph: bytes,
    tensors: Mapping[str, Tensor],
    provider: str,
    device: torch.device,
    stream: Any,
    cache: Path | None,
) -> onnxruntime.InferenceSession:
    model = _parsed(graph)
    names = _stored_tensors(model, tensors)
    values = [np.ascontiguousarray(tensors[name].detach().cpu().float().numpy()) for name in names]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # callers have threads of their own
    options.log_severity_level = 3
    options.add_external_initializers(
        names, [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in values]
    )
    wanted = PROVIDERS[provider]
    facts = provider_options(provider, device, stream, model, cache)
    if provider == "tensorrt":
        _load_tensorrt()
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[(wanted, facts)])
    except ERRORS as error:
        raise ValueError(f"ONNX Runtime does not take the graph: {error}") from error
    if wanted not in session.get_providers():
        raise RuntimeUnavailable(
            f"ONNX Runtime's {provider} provider does not start here; "
            "its log says which library it lacks"
        )
    return session


def provider_options(
    provider: str, device: torch.device, stream: Any, model: onnx.ModelProto, cache: Path | None
) -> dict[str, int | str]:
    """Returns what a provider is set to; nothing on a CPU.

    Args:
        provider: of `PROVIDERS`.
        device: its GPU.
        stream: CUDA stream that it computes on.
        model: the graph, whose input's shape TensorRT's engines are built for.
        cache: folder of TensorRT's engines; None keeps none.
    """
    if provider == "cpu":
        return {}
    shared: dict[str, int | str] = {
        "device_id": device.index or 0,
        "user_compute_stream": str(stream.cuda_stream),
    }
    if provider == "cuda":
        return shared | _CUDA_OPTIONS
    (taken,) = model.graph.input
    sizes = [dimension.dim_value for dimension in taken.type.tensor_type.shape.dim][1:]
    for windows, name in zip(ENGINE_WINDOWS, ("min", "opt", "max"), strict=True):
        shape = "x".join(map(str, (windows, *sizes)))
        shared[f"trt_profile_{name}_shapes"] = f"{taken.name}:{shape}"
    if cache is not None:
        folder = cache / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("engine", "timing"):
            shared |= {f"trt_{kind}_cache_enable": 1, f"trt_{kind}_cache_path": str(folder)}
    return shared


def _load_tensorrt() -> None:
    """Loads TensorRT's libraries, which its packages keep where no loader looks.

    Raises:
        RuntimeUnavailable: they are not installed.
    """
    found = find_spec("tensorrt_libs")
    folders = [Path(place) for place in found.submodule_search_locations or ()] if found else []
    for name in _TENSORRT_LIBRARIES:
        inside = [str(folder / name) for folder in folders if (folder / name).exists()]
        try:
            ctypes.CDLL((inside or [name])[0], mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise RuntimeUnavailable(
                f"TensorRT's {name} is missing: install the extra tensorrt ({error})"
            ) from error


def _parsed(graph: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise ValueError(f"expected an ONNX graph: {error}") from error
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        raise ValueError("expected a plain ONNX graph, it holds graphs inside")
    return model


def _stored_tensors(model: onnx.ModelProto, tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the graph's external tensors, each checked to be among those given.

    No external file is ever opened.
    """
    stored = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    for tensor in stored:
        ours = tensors.get(tensor.name)
        if ours is None or tuple(ours.shape) != tuple(tensor.dims):
            found = "has none" if ours is None else f"has {tuple(ours.shape)}"
            raise ValueError(f"{tensor.name}: expected {tuple(tensor.dims)}, the encoder {found}")
    return [tensor.name for tensor in stored]
