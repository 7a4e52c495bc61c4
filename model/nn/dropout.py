"""Dropout with a fast random mask on CPUs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16  # values of the 16 random bits of each element


class Dropout(nn.Module):
    """Zeroes a share of its input in training and scales up the rest, as nn.Dropout does.

    On a CPU nn.Dropout draws one random number per value, which took longer than the Linear before
    it; here one 64-bit number serves four values, and the share is exact to 1 in 65 536.
    """

    def __init__(self, share: float) -> None:
        """Builds the layer.

        Raises:
            ValueError: the share is not in [0, 1).
        """
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"expected a share in [0, 1), got {share}")
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the same shape."""
        if not self.training or not self.share:
            return x
        if x.is_cuda:
            return F.dropout(x, self.share)
        kept = dropout_mask(x.numel(), self.share).view(x.shape)
        return x * (kept / (1 - self.share))


def dropout_mask(count: int, share: float) -> Tensor:
    """Returns the bool mask of kept values, (count,): each is dropped with probability `share`."""
    numbers = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return numbers.view(torch.int16)[:count] >= round(share * _LEVELS) - _LEVELS // 2
