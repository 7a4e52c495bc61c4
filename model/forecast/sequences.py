"""Sequences of actions: what was done one after another in each clip, and windows into them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ActionSequences:
    """Actions of several clips, one clip after another.

    Attributes:
        ids: (A, 2) int64, verb and noun of each action.
        offset: (C + 1,) int64, first action of each clip, and A.
    """

    ids: Tensor
    offset: Tensor

    @classmethod
    def join(cls, clips: Sequence[Tensor]) -> "ActionSequences":
        """Concatenates clips, (T, 2) each."""
        lengths = torch.tensor([0, *map(len, clips)])
        return cls(torch.cat([torch.zeros(0, 2, dtype=torch.long), *clips]), lengths.cumsum(0))

    def clips(self) -> list[Tensor]:
        """Returns the clips, (T, 2) each."""
        return list(self.ids.split(self.offset.diff().tolist()))

    def windows(self, observed: int, future: int, *, every: int = 1) -> "Windows":
        """Returns every window with so many actions before and after, `every` actions apart."""
        clip: list[int] = []
        last: list[int] = []
        for place, (start, end) in enumerate(self.offset.unfold(0, 2, 1).tolist()):
            found = range(start + observed - 1, end - future, every)
            clip += [place] * len(found)
            last += found
        places = torch.tensor(last, dtype=torch.long)
        return Windows(torch.tensor(clip, dtype=torch.long), self.offset[clip], places)


@dataclass(frozen=True, eq=False)
class Windows:
    """Moments of sequences: everything from `first` to `last` is past, the rest is to come.

    Attributes:
        clip: (M,) of each window.
        first: (M,) position of the first action that may be seen.
        last: (M,) position of the last action observed.
    """

    clip: Tensor
    first: Tensor
    last: Tensor

    def __len__(self) -> int:
        return len(self.last)

    def take(self, which: Tensor) -> "Windows":
        """Returns the windows at some positions."""
        return Windows(self.clip[which], self.first[which], self.last[which])

    def seeing(self, observed: int) -> "Windows":
        """Returns the same windows with at most so many actions seen."""
        return Windows(self.clip, torch.maximum(self.first, self.last - observed + 1), self.last)

    def future(self, ids: Tensor, steps: int) -> Tensor:
        """Returns what follows, (M, steps, 2), of ids, (A, 2)."""
        return ids[self.last.unsqueeze(1) + torch.arange(1, steps + 1)]

    def past(self) -> tuple[Tensor, Tensor]:
        """Returns positions of what is seen, (M, L), padded in front with `first`, and the mask."""
        length = int((self.last - self.first).max()) + 1
        position = self.last.unsqueeze(1) + torch.arange(1 - length, 1)
        first = self.first.unsqueeze(1)
        return torch.maximum(position, first), position >= first
