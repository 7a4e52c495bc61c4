"""uint8 windows to the network's input: scale, normalise and, where the contract says so, resize.

Knows no files and no networks; runs on whatever device the windows are on.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.contract import FeatureContract
from extract.geometry import crop_offset, resized_size


def to_network_input(windows: Tensor, contract: FeatureContract) -> Tensor:
    """Returns normalised frames, (B, 3, T, crop_height, crop_width) float32.

    With `resize="float"` frames are normalised first, then resized as floats (bilinear, half-pixel
    centres, no antialiasing), then centre-cropped: the order of Ego4D's extraction. With
    `resize="decoder"` they arrive resized and cropped, and only the numbers change.

    Args:
        windows: (B, T, H, W, 3) uint8 RGB.
        contract: says what the numbers mean.

    Raises:
        ValueError: the windows are not as documented, or not cropped as the contract says.
    """
    if windows.ndim != 5 or windows.shape[-1] != 3 or windows.dtype != torch.uint8:
        raise ValueError(
            f"expected (B, T, H, W, 3) uint8 windows, got {tuple(windows.shape)} {windows.dtype}"
        )
    batch, num_frames, height, width, _ = windows.shape
    crop = (contract.crop_height, contract.crop_width)
    if contract.resize == "decoder" and (height, width) != crop:
        raise ValueError(f"expected frames cropped to {crop} by the reader, got {(height, width)}")
    if contract.resize == "decoder":
        return _normalise(windows.permute(0, 4, 1, 2, 3), contract)
    frames = windows.flatten(0, 1).permute(0, 3, 1, 2)
    frames = _resize_and_crop(_normalise(frames, contract), contract)
    cropped: Tensor = frames.unflatten(0, (batch, num_frames)).transpose(1, 2)
    return cropped


def _normalise(frames: Tensor, contract: FeatureContract) -> Tensor:
    # Laid out anew by the conversion, so that channels are outside and the rest runs in place.
    pixels = frames.to(torch.float32, memory_format=torch.contiguous_format)
    shape = (-1,) + (1,) * (frames.ndim - 2)
    mean = torch.tensor(contract.mean, device=frames.device).view(shape)
    std = torch.tensor(contract.std, device=frames.device).view(shape)
    return pixels.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def _resize_and_crop(frames: Tensor, contract: FeatureContract) -> Tensor:
    height, width = frames.shape[-2:]
    new_width, new_height = resized_size(width, height, contract)
    frames = F.interpolate(
        frames, (new_height, new_width), mode="bilinear", align_corners=False, antialias=False
    )
    x, y = crop_offset(new_width, new_height, contract)
    return frames[:, :, y : y + contract.crop_height, x : x + contract.crop_width]
