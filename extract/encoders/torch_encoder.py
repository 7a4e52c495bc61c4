"""PyTorch encoder: loads, hashes and runs the tensors of any network with a `TrunkConfig`."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from extract.contract import FeatureContract
from extract.decode.clip import Prepare
from extract.encoders.preprocess import to_network_input, to_pixels

CPU_WINDOWS_TOGETHER = 8
"""Windows in one call on a CPU: bounds memory, and no number is faster (64: a tenth slower)."""

_CPU_PIXEL_BYTES = 256 * 1024 * 1024
"""Most pixels in one call on a CPU, of windows that are large."""

_FILLING = frozenset(
    ("kaiming_uniform_", "constant_", "uniform_", "normal_", "fill_", "zero_")  # of torch.nn.init
    + ("erfinv_", "mul_", "add_", "clamp_")  # steps of trunc_normal_
)
"""Functions that give weights their first values, in place."""


@dataclass(frozen=True)
class TrunkConfig(ABC):
    """Base of the shapes of networks: a network can be built from one and its tensors alone.

    Attributes:
        kind: what a bundle's manifest calls this family of networks.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Numbers in one feature vector."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Returns the network, (B, 3, T, H, W) to (B, dim), with random weights."""

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """Returns whole frames as the network's library resizes and normalises them.

        Args:
            frames: (n, H, W, 3) uint8.

        Returns:
            (n, crop_height, crop_width, 3) float32.

        Raises:
            TypeError: the network's contract says how frames are resized.
        """
        raise TypeError(f"frames for a network of kind {self.kind!r} are not whole")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuilds a configuration.

        Raises:
            ValueError: a key is unknown or missing.
        """
        expected = {f.name for f in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"expected trunk keys {sorted(expected)}, got {sorted(values)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def encoder_fingerprint(
    config: TrunkConfig, contract: FeatureContract, tensors: Mapping[str, Tensor]
) -> str:
    """Returns the SHA-256 of everything that decides the features, in hexadecimal.

    Independent of device, of the encoder's name and of the order of the tensors.
    """
    shape = {"config": config.to_dict(), "contract": contract.to_dict()}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class TorchEncoder:
    """A `VideoEncoder` over a network in torch.

    Attributes:
        name: in bundles and responses.
        config: shape of the trunk.
        contract: how its windows are made.
        trunk: the network. After changing its weights, call `refresh_fingerprint`.
        run: computes features, (B, 3, T, H, W) to (B, dim): the trunk, or a compiled form of it.
        origin: where the weights came from: repository, revision, licence; may be empty.
    """

    def __init__(
        self,
        name: str,
        config: TrunkConfig,
        contract: FeatureContract,
        trunk: nn.Module | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.contract = contract
        self.trunk = (config.build() if trunk is None else trunk).eval()
        self.run: Callable[[Tensor], Tensor] = self.trunk
        self.origin = dict(origin or {})
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        """Numbers in one feature vector."""
        return self.config.dim

    @property
    def device(self) -> torch.device:
        """Where the trunk is."""
        device: torch.device = next(self.trunk.parameters()).device
        return device

    @property
    def fingerprint(self) -> str:
        """SHA-256 over configuration, contract and weights; computed once."""
        if self._fingerprint is None:
            self._fingerprint = encoder_fingerprint(self.config, self.contract, self.state_dict())
        return self._fingerprint

    def refresh_fingerprint(self) -> str:
        """Returns the fingerprint of the current weights, and resets `run` to the trunk."""
        self._fingerprint, self.run = None, self.trunk
        return self.fingerprint

    def state_dict(self) -> dict[str, Tensor]:
        """The trunk's tensors, as `load_encoder` takes them."""
        return dict(self.trunk.state_dict())

    def to(self, device: torch.device | str) -> "TorchEncoder":
        """Moves the trunk, resets `run` to it, and returns this encoder."""
        if torch.device(device).type == "cuda":
            avoid_cudnn_attention()
        self.trunk.to(device)
        self.run = self.trunk
        return self

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, on the trunk's device.

        Args:
            windows: (B, T, H, W, 3) frames, on any device; see `VideoEncoder`.

        Raises:
            ValueError: the windows are not as the contract says.
        """
        frames = self.contract.window_shape[0]
        if windows.ndim != 5 or windows.shape[1] != frames:
            raise ValueError(f"expected (B, {frames}, H, W, 3), got {tuple(windows.shape)}")
        return self._in_parts(windows, self._encode_frames)

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """See `FramePreparer`."""
        return self.config.prepare(frames)

    @torch.inference_mode()
    def to_pixels(self, frames: Tensor) -> Tensor:
        """Returns preprocessed frames, (3, n, h, w) float32, on the trunk's device.

        Args:
            frames: (n, H, W, 3), on any device.
        """
        return to_pixels(frames.to(self.device, non_blocking=True), self.contract)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, of windows of `to_pixels`.

        Args:
            pixels: (B, 3, T, h, w) float32, on the trunk's device.
        """
        return self._in_parts(pixels, self._encode)

    @torch.inference_mode()
    def _encode_frames(self, windows: Tensor) -> Tensor:
        if self.contract.is_whole and windows.dtype == torch.uint8:
            windows = prepared_windows(windows, self.prepare)
        return self._encode(to_network_input(windows.to(self.device), self.contract))

    def _encode(self, pixels: Tensor) -> Tensor:
        return self.run(pixels.to(next(self.trunk.parameters()).dtype)).float()

    def _in_parts(self, batch: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """Returns features of a batch; in parts on a CPU, unless `run` is compiled for sizes."""
        if self.device.type != "cpu" or self.run is not self.trunk:
            return encode(batch)
        window_bytes = 4 * math.prod(self.contract.window_shape) * 3
        together = max(1, min(CPU_WINDOWS_TOGETHER, _CPU_PIXEL_BYTES // window_bytes))
        parts = batch.tensor_split(max(1, math.ceil(len(batch) / together)))
        return torch.cat([encode(part) for part in parts])


def prepared_windows(windows: Tensor, prepare: Prepare) -> Tensor:
    """Returns windows of whole frames, (B, T, H, W, 3) uint8, as windows of prepared ones."""
    prepared = torch.from_numpy(prepare(windows.flatten(0, 1).cpu().numpy()))
    batched: Tensor = prepared.unflatten(0, windows.shape[:2])
    return batched


def avoid_cudnn_attention() -> None:
    """Keeps cuDNN's attention out of this process.

    torch prefers it in half precision, and it plans anew for each shape: 0.4 s for each of the 42
    shapes of Swin-L at every new batch size. The memory-efficient kernel takes the same masks.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


class Uninitialised(TorchFunctionMode):
    """Layers made within have memory for their weights that nothing has written to yet.

    For layers that are given weights at once: as quick as the device "meta", which loads torch's
    decompositions and SymPy for it, longer than all the rest takes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls a function of torch, unless it would fill a weight in place."""
        kwargs = kwargs or {}
        changed = args[0] if args else kwargs.get("tensor")
        if isinstance(changed, nn.Parameter) and func.__name__ in _FILLING:
            return changed
        return func(*args, **kwargs)


def load_encoder(
    name: str, config: TrunkConfig, contract: FeatureContract, tensors: Mapping[str, Tensor]
) -> TorchEncoder:
    """Returns an encoder with the given weights.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape.
    """
    with Uninitialised():
        trunk = config.build()
    try:
        trunk.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the tensors do not fit encoder {name!r}: {error}") from error
    trunk.requires_grad_(False)
    return TorchEncoder(name, config, contract, trunk)
