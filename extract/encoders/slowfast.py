"""SlowFast trunk: pytorchvideo's network without its classifier. Only module with pytorchvideo."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from extract.contract import SLOWFAST
from extract.encoders.torch_encoder import TorchEncoder, TrunkConfig, load_encoder

FAST_FRAMES = 32
SLOW_FRAMES = (0, 4, 8, 13, 17, 22, 26, 31)
"""Frames of the slow pathway, of 32: trunc(linspace(0, 31, 8)), not every fourth."""

MIN_SIDE = 193
"""Pixels from which the last map, a 32nd of the frame, has the 7 positions that pooling needs."""

_CLASSIFIER = "blocks.6."


@dataclass(frozen=True)
class SlowFastConfig(TrunkConfig):
    """Shape of the trunk.

    Attributes:
        depth: of the residual network: 18, 50, 101 or 152.
        width: channels of the slow pathway's stem; the fast pathway has an eighth of them.
        fusion_frames: frames that a connection from fast to slow spans.
    """

    kind: ClassVar[str] = "slowfast"

    depth: int
    width: int
    fusion_frames: int

    @property
    def dim(self) -> int:
        """Numbers in one feature vector: 32 widths of the slow pathway, 4 of the fast one."""
        return 36 * self.width

    def build(self) -> "SlowFast":
        """Returns the trunk, randomly initialised and in training mode."""
        return SlowFast(self)


SLOWFAST_R101 = SlowFastConfig(depth=101, width=64, fusion_frames=5)
"""SlowFast 8x8 R101 as published. R50 spans 7 frames in its connections."""


class SlowFast(nn.Module):
    """Two pathways over the same frames; its tensors have the published names.

    Both end in averages over 7 x 7 positions at stride 1. A frame of 256 pixels has a last map of
    8 x 8, so 2 x 2 overlapping averages are left: the feature is their mean, which is not the mean
    of the map.
    """

    def __init__(self, config: SlowFastConfig) -> None:
        from pytorchvideo.models.slowfast import create_slowfast

        super().__init__()
        network = create_slowfast(
            model_depth=config.depth,
            stem_dim_outs=(config.width, config.width // 8),
            slowfast_fusion_conv_kernel_size=(config.fusion_frames, 1, 1),
            head=None,
        )
        self.blocks: nn.ModuleList = network.blocks

    def forward(self, frames: Tensor) -> Tensor:
        """Returns features, (B, dim).

        Args:
            frames: (B, 3, 32, H, W), normalised.

        Raises:
            ValueError: not 32 frames, or too small for the pooling at the end.
        """
        num_frames, height, width = frames.shape[2:]
        if num_frames != FAST_FRAMES or min(height, width) < MIN_SIDE:
            raise ValueError(
                f"SlowFast takes {FAST_FRAMES} frames of at least {MIN_SIDE} x {MIN_SIDE} pixels, "
                f"got {num_frames} of {width} x {height}"
            )
        slow = torch.stack([frames[:, :, index] for index in SLOW_FRAMES], dim=2)
        pathways: Any = [slow, frames]
        for block in self.blocks:
            pathways = block(pathways)
        features: Tensor = pathways.flatten(2).mean(2)  # (B, dim, 1, h, w) -> (B, dim)
        return features


def load_slowfast(
    state: Mapping[str, Tensor], *, config: SlowFastConfig = SLOWFAST_R101
) -> TorchEncoder:
    """Returns the encoder that made Ego4D's `slowfast8x8_r101_k400` features.

    Args:
        state: the checkpoint's `model_state` entry; its classifier is dropped.
        config: shape of the trunk; another one than the published is for tests.

    Raises:
        ValueError: the tensors are not those of the named trunk.
    """
    trunk = {name: t for name, t in state.items() if not name.startswith(_CLASSIFIER)}
    return load_encoder("slowfast-r101", config, SLOWFAST, trunk)
