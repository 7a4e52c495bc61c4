"""ONNX encoder: an encoder's ONNX graph as a `VideoEncoder`, run by ONNX Runtime."""

from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.encoders.preprocess import to_network_input
from extract.encoders.torch_encoder import TorchEncoder, prepared_windows
from extract.runtime.onnx_session import GraphRun

WINDOWS_TOGETHER = 2
"""Windows in one call on a CPU: activations of two windows of the small trunk fit a core's cache; a
whole clip's windows take a sixth longer."""


class OnnxEncoder:
    """The same features as a `TorchEncoder`'s, to rounding.

    On a CPU windows are spread over as many threads as torch has at the time of the call, a few
    windows at a time, and an operation stays on its thread: threads synchronise once a call. On a
    GPU one call has all windows, in its memory.

    Attributes:
        name: of the encoder.
        dim: numbers in one feature vector.
        contract: how its windows are made.
        fingerprint: the torch encoder's: their features are interchangeable.
        provider: of `onnx_session.PROVIDERS`.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        graph: bytes,
        *,
        provider: str = "cpu",
        cache: Path | None = None,
    ) -> None:
        """Creates a session with the encoder's weights, whatever files the graph names.

        Raises:
            RuntimeUnavailable: the provider is not installed, or does not start.
            ValueError: the graph is invalid, or not the encoder's.
        """
        self.name, self.dim = encoder.name, encoder.dim
        self.contract, self.fingerprint = encoder.contract, encoder.fingerprint
        self.provider = provider
        self._config = encoder.config
        own = None if cache is None else cache / encoder.fingerprint[:12]
        self._graph = GraphRun(
            graph, encoder.state_dict(), provider=provider, device=encoder.device, cache=own
        )
        self._check()
        self._threads = ThreadPoolExecutor(thread_name_prefix="onnx")

    def prepare(self, frames: NDArray[Any]) -> NDArray[Any]:
        """See `FramePreparer`."""
        return self._config.prepare(frames)

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, in main memory or on the provider's GPU.

        Args:
            windows: (B, T, H, W, 3) frames, on any device; see `VideoEncoder`.

        Raises:
            ValueError: the windows are not as the contract says.
            RuntimeUnavailable: the provider failed.
        """
        inputs = self._inputs(windows)
        if self.provider != "cpu":
            return self._graph.on_device(inputs)
        values = inputs.numpy()
        shares = np.array_split(values, max(1, min(torch.get_num_threads(), len(values))))
        if len(shares) == 1:
            return torch.from_numpy(self._run_share(values))
        return torch.from_numpy(np.concatenate(list(self._threads.map(self._run_share, shares))))

    def _inputs(self, windows: Tensor) -> Tensor:
        frames, height, width = self.contract.window_shape
        if windows.ndim != 5 or windows.shape[1] != frames:
            raise ValueError(f"expected (B, {frames}, H, W, 3), got {tuple(windows.shape)}")
        device = self._graph.device
        if not self._graph.takes_bytes:
            if self.contract.is_whole and windows.dtype == torch.uint8:
                windows = prepared_windows(windows, self.prepare)
            pixels = to_network_input(windows.to(device, non_blocking=True), self.contract)
            return pixels.contiguous()
        if windows.dtype != torch.uint8 or windows.shape[2:] != (height, width, 3):
            raise ValueError(
                f"expected (B, {frames}, {height}, {width}, 3) uint8 windows, "
                f"got {tuple(windows.shape)} {windows.dtype}"
            )
        return windows.to(device, non_blocking=True).contiguous()

    def _run_share(self, share: NDArray[Any]) -> NDArray[np.float32]:
        """Encodes one thread's windows, a few at a time."""
        parts = np.array_split(share, max(1, ceil(len(share) / WINDOWS_TOGETHER)))
        return np.concatenate([self._run(part) for part in parts])

    def _run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        return self._graph.on_host(inputs)

    def _check(self) -> None:
        """Raises ValueError unless input and output have the encoder's shapes."""
        sizes = self.contract.window_shape
        expected = (*sizes, 3) if self._graph.takes_bytes else (3, *sizes)
        if self._graph.input != expected or self._graph.output != (self.dim,):
            raise ValueError(
                f"the graph makes {list(self._graph.output)} of {list(self._graph.input)}, "
                f"encoder {self.name!r} makes {[self.dim]} of {list(expected)}"
            )
