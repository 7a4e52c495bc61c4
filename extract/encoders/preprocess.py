"""Preprocessing: frames to the network's input, resized if they are not yet, and normalised.

Runs on the device of the frames.
"""

import numpy as np
import torch
from torch import Tensor

from extract.contract import FeatureContract
from extract.decode.resize import Taps, taps_of


def to_network_input(windows: Tensor, contract: FeatureContract) -> Tensor:
    """Returns normalised windows, (B, 3, T, crop_height, crop_width) float32; see `to_pixels`.

    Args:
        windows: (B, T, H, W, 3) RGB frames, as `to_pixels` takes them.
        contract: sizes, mean and standard deviation.

    Raises:
        ValueError: the windows are not as documented, or not cropped as the contract says.
    """
    if windows.ndim != 5:
        raise ValueError(f"expected (B, T, H, W, 3) windows, got {tuple(windows.shape)}")
    if _is_resized(windows, contract):
        return _normalise(windows.permute(0, 4, 1, 2, 3), contract)
    pixels = to_pixels(windows.flatten(0, 1), contract)
    batched: Tensor = pixels.unflatten(1, windows.shape[:2]).transpose(0, 1)
    return batched


def to_pixels(frames: Tensor, contract: FeatureContract) -> Tensor:
    """Returns normalised frames, (3, n, crop_height, crop_width) float32.

    Frames from a reader are resized and cropped already. With `resize="float"` whole frames are
    accepted as well, and resized to the same values. Ego4D's extraction normalises before it
    resizes; that differs by rounding alone, 1e-6. With `resize="library"` they were prepared.

    Args:
        frames: (n, H, W, 3) RGB. Resized: as `FeatureContract.frame_shape` and `frame_dtype` say.
            Whole: uint8.
        contract: sizes, mean and standard deviation.

    Raises:
        ValueError: the frames are not as documented, or not cropped as the contract says.
    """
    if not _is_resized(frames, contract):
        frames = _resize(frames, *taps_of(frames.shape[2], frames.shape[1], contract))
    return _normalise(frames.permute(3, 0, 1, 2), contract)


def _is_resized(frames: Tensor, contract: FeatureContract) -> bool:
    """Returns whether frames are as readers deliver them, not whole ones.

    Raises:
        ValueError: they are neither.
    """
    size, dtype = tuple(frames.shape[-3:]), str(frames.dtype).removeprefix("torch.")
    if (size, dtype) == (contract.frame_shape, contract.frame_dtype):
        return True
    if contract.resize == "float" and dtype == "uint8" and size[-1] == 3:
        return False
    made, also = "from the reader", ", or whole uint8 ones" if contract.resize != "decoder" else ""
    if contract.is_whole:
        made = "prepared by the encoder"
    raise ValueError(
        f"expected {contract.frame_dtype} frames of {contract.frame_shape} {made}{also}, "
        f"got {dtype} {size}"
    )


def _normalise(pixels: Tensor, contract: FeatureContract) -> Tensor:
    """Normalises (..., 3, T, H, W), unless a library has."""
    if contract.is_whole:
        return pixels.contiguous()
    # Copied channels first; the rest runs in place.
    floats = torch.empty(pixels.shape, device=pixels.device).copy_(pixels)
    mean = torch.tensor(contract.mean, device=pixels.device).view(3, 1, 1, 1)
    std = torch.tensor(contract.std, device=pixels.device).view(3, 1, 1, 1)
    return floats.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def _resize(frames: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """As `decode.resize.resize`: (n, H, W, 3) uint8 -> (n, crop_height, crop_width, 3) float32."""

    def here(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(frames.device)

    height, width = len(rows.weights), len(columns.weights)
    gathered = frames.index_select(1, here(rows.places)).index_select(2, here(columns.places))
    mixed = _mixed(gathered[:, :height], gathered[:, height:], here(rows.weights)[:, None, None])
    return _mixed(mixed[:, :, :width], mixed[:, :, width:], here(columns.weights)[:, None])


def _mixed(below: Tensor, above: Tensor, weights: Tensor) -> Tensor:
    return (above.float() - below.float()).mul_(weights).add_(below)
