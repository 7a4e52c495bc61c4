"""Video Swin trunk: torchvision's network with the stages of `attention`."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from extract.encoders.swin.attention import Merging, PatchEmbedding, WindowStage, window_block
from extract.encoders.swin.torchvision import SwinTransformer3d
from extract.encoders.torch_encoder import TrunkConfig


@dataclass(frozen=True)
class SwinConfig(TrunkConfig):
    """Shape of the trunk; tuples are (time, height, width).

    Attributes:
        patch: frames and pixels in one token.
        width: channels of the first stage; each further stage doubles them.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: tokens in one attention window.
    """

    kind: ClassVar[str] = "swin"

    patch: tuple[int, int, int]
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: tuple[int, int, int]

    @property
    def dim(self) -> int:
        """Numbers in one feature vector."""
        return int(self.width * 2 ** (len(self.depths) - 1))

    def build(self) -> SwinTransformer3d:
        """Returns the trunk; see `build_trunk`."""
        return build_trunk(self)


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
        downsample_layer=Merging,
        patch_embed=PatchEmbedding,
    )
    for i in range(0, len(trunk.features), 2):  # mergings are between
        trunk.features[i] = WindowStage(*trunk.features[i])
    trunk.head = nn.Identity()
    return trunk
