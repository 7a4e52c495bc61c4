"""ONNX encoder: an encoder's ONNX graph as a `VideoEncoder`, run by ONNX Runtime."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor

from extract.encoders.preprocess import to_network_input
from extract.encoders.torch_encoder import TorchEncoder, prepared_windows
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

PROVIDER_OPTIONS: dict[str, dict[str, int | str]] = {
    "cuda": {
        "use_tf32": 0,  # features of float32 are those of torch, to 1e-5
        "cudnn_conv_algo_search": "HEURISTIC",  # else each new batch size is searched for
        "arena_extend_strategy": "kSameAsRequested",  # else memory doubles, which torch shares
    },
    "tensorrt": {},
}
"""What a provider is set to besides its device."""

WINDOWS_TOGETHER = 2
"""Windows in one call on a CPU: activations of two windows of the small trunk fit a core's cache; a
whole clip's windows take a sixth longer."""

_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(onnxruntime_pybind11_state).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class OnnxEncoder:
    """The same features as a `TorchEncoder`'s, to rounding.

    On a CPU windows are spread over as many threads as torch has at the time of the call, a few
    windows at a time, and an operation stays on its thread: threads synchronise once a call.

    Attributes:
        name: of the encoder.
        dim: numbers in one feature vector.
        contract: how its windows are made.
        fingerprint: the torch encoder's: their features are interchangeable.
        provider: of `PROVIDERS`.
    """

    def __init__(self, encoder: TorchEncoder, graph: bytes, *, provider: str = "cpu") -> None:
        """Creates a session with the encoder's weights, whatever files the graph names.

        Raises:
            RuntimeUnavailable: the provider is not installed, or does not start.
            ValueError: the graph is invalid, or not the encoder's.
        """
        self.name, self.dim = encoder.name, encoder.dim
        self.contract, self.fingerprint = encoder.contract, encoder.fingerprint
        self.provider = provider
        index = encoder.device.index or 0
        self._config = encoder.config
        self._session = _open(graph, encoder.state_dict(), provider, index)
        (taken,) = self._session.get_inputs()
        self._input = taken.name
        self._takes_bytes = taken.type == "tensor(uint8)"
        self._check()
        self._threads = ThreadPoolExecutor(thread_name_prefix="onnx")

    def prepare(self, frames: NDArray[Any]) -> NDArray[Any]:
        """See `FramePreparer`."""
        return self._config.prepare(frames)

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, in main memory.

        Args:
            windows: (B, T, H, W, 3) frames, on any device; see `VideoEncoder`.

        Raises:
            ValueError: the windows are not as the contract says.
            RuntimeUnavailable: the provider failed.
        """
        inputs = self._inputs(windows)
        if self.provider != "cpu":
            return torch.from_numpy(self._run(inputs))
        shares = np.array_split(inputs, max(1, min(torch.get_num_threads(), len(inputs))))
        if len(shares) == 1:
            return torch.from_numpy(self._run_share(inputs))
        return torch.from_numpy(np.concatenate(list(self._threads.map(self._run_share, shares))))

    def _inputs(self, windows: Tensor) -> NDArray[Any]:
        frames, height, width = self.contract.window_shape
        if windows.ndim != 5 or windows.shape[1] != frames:
            raise ValueError(f"expected (B, {frames}, H, W, 3), got {tuple(windows.shape)}")
        if not self._takes_bytes:
            if self.contract.is_whole and windows.dtype == torch.uint8:
                windows = prepared_windows(windows, self.prepare)
            pixels: NDArray[Any] = to_network_input(windows, self.contract).cpu().numpy()
            return pixels
        if windows.dtype != torch.uint8 or windows.shape[2:] != (height, width, 3):
            raise ValueError(
                f"expected (B, {frames}, {height}, {width}, 3) uint8 windows, "
                f"got {tuple(windows.shape)} {windows.dtype}"
            )
        whole: NDArray[Any] = windows.cpu().contiguous().numpy()
        return whole

    def _run_share(self, share: NDArray[Any]) -> NDArray[np.float32]:
        """Encodes one thread's windows, a few at a time."""
        parts = np.array_split(share, max(1, ceil(len(share) / WINDOWS_TOGETHER)))
        return np.concatenate([self._run(part) for part in parts])

    def _run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        try:
            (features,) = self._session.run(None, {self._input: inputs})
        except _ERRORS as error:
            raise RuntimeUnavailable(
                f"ONNX Runtime's {self.provider} provider failed on {len(inputs)} windows: {error}"
            ) from error
        return np.asarray(features, np.float32)

    def _check(self) -> None:
        """Raises ValueError unless input and output have the encoder's shapes."""
        sizes = self.contract.window_shape
        expected = [*sizes, 3] if self._takes_bytes else [3, *sizes]
        (taken,), (made,) = self._session.get_inputs(), self._session.get_outputs()
        if taken.shape[1:] != expected or made.shape[1:] != [self.dim]:
            raise ValueError(
                f"the graph makes {made.shape[1:]} of {taken.shape[1:]}, "
                f"encoder {self.name!r} makes {[self.dim]} of {expected}"
            )


def available_providers() -> list[str]:
    """Returns which of `PROVIDERS` this installation of ONNX Runtime has."""
    there = onnxruntime.get_available_providers()
    return [name for name, theirs in PROVIDERS.items() if theirs in there]


def _open(
    graph: bytes, tensors: Mapping[str, Tensor], provider: str, index: int
) -> onnxruntime.InferenceSession:
    if provider not in available_providers():
        raise RuntimeUnavailable(
            f"this ONNX Runtime has no {provider} provider, it has "
            f"{', '.join(available_providers())}; onnxruntime-gpu (the gpu extra) brings cuda and "
            "tensorrt"
        )
    names = _stored_tensors(graph, tensors)
    values = [np.ascontiguousarray(tensors[name].detach().cpu().float().numpy()) for name in names]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # `encode` has threads of its own
    options.log_severity_level = 3
    options.add_external_initializers(
        names, [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in values]
    )
    wanted = PROVIDERS[provider]
    facts = {} if provider == "cpu" else {"device_id": index, **PROVIDER_OPTIONS[provider]}
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[(wanted, facts)])
    except _ERRORS as error:
        raise ValueError(f"ONNX Runtime does not take the graph: {error}") from error
    if wanted not in session.get_providers():
        raise RuntimeUnavailable(
            f"ONNX Runtime's {provider} provider does not start here; "
            "its log says which library it lacks"
        )
    return session


def _stored_tensors(graph: bytes, tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the graph's external tensors, each checked to be one of the encoder's.

    No external file is ever opened.
    """
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise ValueError(f"expected an ONNX graph: {error}") from error
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        raise ValueError("expected a plain ONNX graph, it holds graphs inside")
    stored = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    for tensor in stored:
        ours = tensors.get(tensor.name)
        if ours is None or tuple(ours.shape) != tuple(tensor.dims):
            found = "has none" if ours is None else f"has {tuple(ours.shape)}"
            raise ValueError(f"{tensor.name}: expected {tuple(tensor.dims)}, the encoder {found}")
    return [tensor.name for tensor in stored]
