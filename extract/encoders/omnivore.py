"""Loader of the published Omnivore Swin-L checkpoint: its tensors under torchvision's names.

The weights are licensed CC BY-NC 4.0 and not shipped: operators fetch them.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from extract.contract import OMNIVORE
from extract.encoders.swin.trunk import OMNIVORE_SWINL, SwinConfig
from extract.encoders.torch_encoder import TorchEncoder, load_encoder

_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGING = re.compile(r"layers\.(\d+)\.downsample\.(.+)")


def translate_keys(trunk: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the same tensors under torchvision's names; no tensor is changed.

    The depth branch is dropped: it is for RGB-D images only. Features equal the original's to
    rounding (tested to 1e-5): in inference the trunk sums in another order.

    Args:
        trunk: the checkpoint's `trunk` entry, 355 tensors for Swin-L.
    """
    translated = {}
    for key, tensor in trunk.items():
        if key.startswith("depth_patch_embed."):
            continue
        translated[_translate_key(key)] = tensor
    return translated


def _translate_key(key: str) -> str:
    if block := _BLOCK.fullmatch(key):
        stage, index, rest = block.groups()
        rest = rest.replace("mlp.fc1.", "mlp.0.").replace("mlp.fc2.", "mlp.3.")
        return f"features.{2 * int(stage)}.{index}.{rest}"
    if merging := _MERGING.fullmatch(key):
        stage, rest = merging.groups()
        return f"features.{2 * int(stage) + 1}.{rest}"
    return key


def load_omnivore(
    trunk: Mapping[str, Tensor], *, config: SwinConfig = OMNIVORE_SWINL
) -> TorchEncoder:
    """Returns the encoder that made Ego4D's `omnivore_video_swinl` features.

    Args:
        trunk: the checkpoint's `trunk` entry.
        config: shape of the trunk; another one than Swin-L's is for tests.

    Raises:
        ValueError: the tensors are not those of the named trunk.
    """
    return load_encoder("omnivore-swinl", config, OMNIVORE, translate_keys(trunk))
