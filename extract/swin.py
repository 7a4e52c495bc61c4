"""The video Swin trunk as an encoder: torchvision's network behind our names.

With `windowed` the only home of torchvision. Knows how to hash and load tensors, not where they
come from.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from extract.contract import FeatureContract
from extract.pixels import to_network_input
from extract.windowed import PatchEmbedding, window_block


@dataclass(frozen=True)
class SwinConfig:
    """Shape of the trunk; tuples are (time, height, width).

    Attributes:
        patch: frames and pixels in one token.
        width: channels of the first stage; each further stage doubles them.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: tokens in one attention window.
    """

    patch: tuple[int, int, int]
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: tuple[int, int, int]

    @property
    def dim(self) -> int:
        """Numbers in one feature vector."""
        return int(self.width * 2 ** (len(self.depths) - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SwinConfig":
        """Rebuilds a configuration.

        Raises:
            ValueError: a key is unknown or missing.
        """
        expected = {f.name for f in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"expected trunk keys {sorted(expected)}, got {sorted(values)}")
        listed: dict[str, Any] = {k: tuple(v) for k, v in values.items() if k != "width"}
        return cls(width=values["width"], **listed)


OMNIVORE_SWINL = SwinConfig((2, 4, 4), 192, (2, 2, 18, 2), (6, 12, 24, 48), (8, 7, 7))
"""Omnivore's Swin-L. Its attention window is (8, 7, 7); (16, 7, 7) belongs to Swin-B."""

TABLETOP_SWIN = SwinConfig((4, 8, 8), 48, (2, 2, 2), (3, 6, 12), (4, 3, 4))
"""Our small trunk: 16 frames of 96 x 128 pixels become 4 x 12 x 16 tokens."""


def build_trunk(config: SwinConfig) -> SwinTransformer3d:
    """Returns the trunk without its classifier, randomly initialised and in training mode.

    The output is the mean over all tokens after the final norm, (B, config.dim).
    """
    # Lists: a tuple as window is accepted here and fails in the forward pass.
    trunk = SwinTransformer3d(
        patch_size=list(config.patch),
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=list(config.window),
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        block=window_block,
        patch_embed=PatchEmbedding,
    )
    trunk.head = nn.Identity()
    return trunk


def encoder_fingerprint(
    config: SwinConfig, contract: FeatureContract, tensors: Mapping[str, Tensor]
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


class SwinEncoder:
    """A `VideoEncoder` over a Swin trunk.

    Attributes:
        name: what the bundle and the answers call it.
        config: shape of the trunk.
        contract: how its windows are made.
        trunk: the network. After changing its weights, call `refresh_fingerprint`.
    """

    def __init__(
        self,
        name: str,
        config: SwinConfig,
        contract: FeatureContract,
        trunk: SwinTransformer3d | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.contract = contract
        self.trunk = (build_trunk(config) if trunk is None else trunk).eval()
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
        """Returns the fingerprint of the weights as they are now."""
        self._fingerprint = None
        return self.fingerprint

    def state_dict(self) -> dict[str, Tensor]:
        """The trunk's tensors, as `load_swin` takes them."""
        return dict(self.trunk.state_dict())

    def to(self, device: torch.device | str) -> "SwinEncoder":
        """Moves the trunk and returns this encoder."""
        self.trunk.to(device)
        return self

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, on the trunk's device.

        Args:
            windows: (B, T, H, W, 3) uint8, on any device.

        Raises:
            ValueError: the windows are not as the contract says.
        """
        frames = self.contract.window_frames // self.contract.frame_step
        if windows.ndim != 5 or windows.shape[1] != frames:
            raise ValueError(f"expected (B, {frames}, H, W, 3), got {tuple(windows.shape)}")
        with torch.inference_mode():
            weight = next(self.trunk.parameters())
            pixels = to_network_input(windows.to(weight.device), self.contract)
            features: Tensor = self.trunk(pixels.to(weight.dtype))
            return features.float()


def load_swin(
    name: str, config: SwinConfig, contract: FeatureContract, tensors: Mapping[str, Tensor]
) -> SwinEncoder:
    """Returns an encoder with the given weights.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape.
    """
    with torch.device("meta"):
        trunk = build_trunk(config)
    try:
        trunk.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the tensors do not fit encoder {name!r}: {error}") from error
    trunk.requires_grad_(False)
    return SwinEncoder(name, config, contract, trunk)
