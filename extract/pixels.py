"""uint8 frames to the network's input: scale, normalise and, where the contract says so, resize.

Knows no files and no networks; runs on whatever device the frames are on.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.contract import FeatureContract
from extract.geometry import crop_offset, resized_size


def to_network_input(windows: Tensor, contract: FeatureContract) -> Tensor:
    """Returns normalised windows, (B, 3, T, crop_height, crop_width) float32; see `to_pixels`.

    Args:
        windows: (B, T, H, W, 3) uint8 RGB.
        contract: says what the numbers mean.

    Raises:
        ValueError: the windows are not as documented, or not cropped as the contract says.
    """
    if windows.ndim != 5:
        raise ValueError(f"expected (B, T, H, W, 3) windows, got {tuple(windows.shape)}")
    if contract.resize == "decoder":
        _check(windows, contract)
        return _normalise(windows.permute(0, 4, 1, 2, 3), contract)
    pixels = to_pixels(windows.flatten(0, 1), contract)
    batched: Tensor = pixels.unflatten(1, windows.shape[:2]).transpose(0, 1)
    return batched


def to_pixels(frames: Tensor, contract: FeatureContract) -> Tensor:
    """Returns normalised frames, (3, n, crop_height, crop_width) float32.

    With `resize="float"` frames are normalised first, then resized as floats (bilinear, half-pixel
    centres, no antialiasing), then centre-cropped: the order of Ego4D's extraction. With
    `resize="decoder"` they arrive resized and cropped, and only the numbers change.

    Args:
        frames: (n, H, W, 3) uint8 RGB.
        contract: says what the numbers mean.

    Raises:
        ValueError: the frames are not as documented, or not cropped as the contract says.
    """
    _check(frames, contract)
    pixels = _normalise(frames.permute(3, 0, 1, 2), contract)
    return pixels if contract.resize == "decoder" else _resize_and_crop(pixels, contract)


def _check(frames: Tensor, contract: FeatureContract) -> None:
    if frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"expected (..., H, W, 3) uint8, got {tuple(frames.shape)} {frames.dtype}")
    size, crop = tuple(frames.shape[-3:-1]), (contract.crop_height, contract.crop_width)
    if contract.resize == "decoder" and size != crop:
        raise ValueError(f"expected frames cropped to {crop} by the reader, got {size}")


def _normalise(pixels: Tensor, contract: FeatureContract) -> Tensor:
    """(..., 3, T, H, W), channels fourth from the end."""
    # Laid out anew by the conversion, so that channels are outside and the rest runs in place.
    floats = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    mean = torch.tensor(contract.mean, device=pixels.device).view(3, 1, 1, 1)
    std = torch.tensor(contract.std, device=pixels.device).view(3, 1, 1, 1)
    return floats.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def _resize_and_crop(pixels: Tensor, contract: FeatureContract) -> Tensor:
    height, width = pixels.shape[-2:]
    new_width, new_height = resized_size(width, height, contract)
    resized = F.interpolate(
        pixels, (new_height, new_width), mode="bilinear", align_corners=False, antialias=False
    )
    x, y = crop_offset(new_width, new_height, contract)
    return resized[:, :, y : y + contract.crop_height, x : x + contract.crop_width]
