"""Preprocessing: frames to the network's input, resized if they are not yet, and normalised.

Runs on the device of the frames.
"""

from functools import lru_cache
from typing import NamedTuple

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
        frames = _resize(frames, contract)
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
    scale, shift = _scale_and_shift(contract.mean, contract.std, pixels.device)
    return floats.mul_(scale).sub_(shift)


def _resize(frames: Tensor, contract: FeatureContract) -> Tensor:
    """As `decode.resize.resize`: (n, H, W, 3) uint8 -> (n, crop_height, crop_width, 3) float32."""
    rows, columns = _taps_on(frames.shape[2], frames.shape[1], contract, frames.device)
    height, width = len(rows.weights), len(columns.weights)
    gathered = frames.index_select(1, rows.places).index_select(2, columns.places)
    mixed = _mixed(gathered[:, :height], gathered[:, height:], rows.weights[:, None, None])
    return _mixed(mixed[:, :, :width], mixed[:, :, width:], columns.weights[:, None])


# A copy to a GPU makes the caller wait for all that the GPU has to do before it, so what every call
# needs is copied once.


class _Taps(NamedTuple):
    """Taps as tensors on a device; see `Taps`."""

    places: Tensor
    weights: Tensor


@lru_cache(maxsize=32)
def _scale_and_shift(
    mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns 1 / (255 std) and mean / std, (3, 1, 1, 1) float32 each."""
    with torch.inference_mode(False):  # training uses them, too
        means, deviations = (torch.tensor(v, device=device).view(3, 1, 1, 1) for v in (mean, std))
        return 1.0 / (255.0 * deviations), means / deviations


@lru_cache(maxsize=32)
def _taps_on(
    width: int, height: int, contract: FeatureContract, device: torch.device
) -> tuple[_Taps, _Taps]:
    """Returns the rows and columns of `taps_of` on a device."""

    def copied(taps: Taps) -> _Taps:
        with torch.inference_mode(False):
            return _Taps(*(torch.from_numpy(v).to(device) for v in (taps.places, taps.weights)))

    rows, columns = taps_of(width, height, contract)
    return copied(rows), copied(columns)


def _mixed(below: Tensor, above: Tensor, weights: Tensor) -> Tensor:
    return (above.float() - below.float()).mul_(weights).add_(below)
