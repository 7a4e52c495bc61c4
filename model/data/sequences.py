"""Sequences of actions: what was done one after another in each clip, and windows into them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, eq=False)
class ObservedActions:
    """Actions of the clips of LTA's windows: what a forecast may look back on.

    Attributes:
        segments: (A, 2) int64 frames, on the features' clock, clip after clip.
        ids: (A, 2) verb and noun, -1 where unlabelled.
        clip_start: (A,) position of the first action of each action's clip.
        video_offset: (A,) first row of its video.
        video_rows: (A,) rows of its video.
        windows: of the samples.
    """

    segments: Tensor
    ids: Tensor
    clip_start: Tensor
    video_offset: Tensor
    video_rows: Tensor
    windows: Windows

    def take(self, which: Tensor) -> "ObservedActions":
        """Returns the same actions with the windows at some positions."""
        return replace(self, windows=self.windows.take(which))

    def sequences(self) -> "ActionSequences":
        """Returns the labels of the clips."""
        _, count = self.clip_start.unique_consecutive(return_counts=True)
        return ActionSequences(self.ids, torch.cat([count.new_zeros(1), count.cumsum(0)]))

    def seen(self) -> Tensor:
        """Returns the positions of the actions that some window sees, sorted."""
        edge = torch.zeros(len(self.segments) + 1, dtype=torch.long)
        one = torch.ones_like(self.windows.first)
        edge.index_add_(0, self.windows.first, one).index_add_(0, self.windows.last + 1, -one)
        return (edge.cumsum(0)[:-1] > 0).nonzero().squeeze(1)
