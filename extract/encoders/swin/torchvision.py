"""torchvision's Swin networks, which the trunk is made of."""

from weights.imports import deferred

with deferred("torch._dynamo", "torch._dynamo.utils"):
    from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
    from torchvision.models.video.swin_transformer import (
        PatchEmbed3d,
        ShiftedWindowAttention3d,
        SwinTransformer3d,
    )

__all__ = [
    "PatchEmbed3d",
    "PatchMerging",
    "ShiftedWindowAttention3d",
    "SwinTransformer3d",
    "SwinTransformerBlock",
]
