"""Transfers between host and device: tensors of one type cross as one piece.

A copy from a GPU waits for all of its work, and each of many small ones waits anew.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Returns tensors of the host on a device, without waiting for it; on a CPU they stay.

    Args:
        tensors: of any shapes and types.
        device: where to.
    """
    if device.type == "cpu":
        return list(tensors)
    return _together(tensors, lambda whole: whole.pin_memory().to(device, non_blocking=True))


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns tensors of one device on the host; waits once for each type of number."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    return _together(tensors, Tensor.cpu)


def _together(tensors: Sequence[Tensor], move: Callable[[Tensor], Tensor]) -> list[Tensor]:
    moved: list[Tensor] = list(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        places = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
        whole = move(torch.cat([tensors[i].reshape(-1) for i in places]))
        parts = whole.split([tensors[i].numel() for i in places])
        for place, part in zip(places, parts, strict=True):
            moved[place] = part.view(tensors[place].shape)
    return moved
