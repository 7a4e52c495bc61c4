"""Forecasts that look at labels alone: frequent actions, repetition of the past, bigrams."""

import torch
from torch import Tensor

from model.data.sequences import ActionSequences, Windows

REPEATED = (1, 2, 4, 8, 16)
"""Actions that each hypothesis of `repeat` goes through again and again."""

SMOOTHING = 5.0
"""Weight of the unigram distribution in a bigram's, in counts."""


def repeat(past: Tensor, windows: Windows, steps: int) -> Tensor:
    """Repeats the last 1, 2, 4, 8 and 16 actions cyclically, (M, 5, steps, 2).

    Where fewer are seen, a hypothesis repeats those.

    Args:
        past: (A, R, 2) actions, true or recognised; in column r, r later actions were observed, in
            the last one more.
        windows: what is seen.
        steps: future actions.
    """
    futures = []
    for length in REPEATED:
        start = torch.maximum(windows.first, windows.last - length + 1)
        period = windows.last - start + 1
        place = start.unsqueeze(1) + torch.arange(steps) % period.unsqueeze(1)
        later = (windows.last.unsqueeze(1) - place).clamp(max=past.shape[1] - 1)
        futures.append(past[place, later])
    return torch.stack(futures, dim=1)


class PairCounts:
    """Counts of actions and of actions that follow each other, over the pairs of training.

    Actions without a label of either kind are left out.

    Attributes:
        pairs: (P, 2) verb and noun of every pair, sorted.
        count: (P,) its occurrences.
        follow: (P, P) how often a pair, in a row, is followed by another.
    """

    def __init__(self, train: ActionSequences) -> None:
        known = (train.ids >= 0).all(dim=1)
        self.pairs, row = train.ids[known].unique(dim=0, return_inverse=True)
        size = len(self.pairs)
        self.count = row.bincount(minlength=size)
        index = torch.full((len(train.ids),), -1)
        index[known] = row
        is_last = torch.zeros(len(index) + 1, dtype=torch.bool)
        is_last[train.offset] = True
        followed = (index[:-1] >= 0) & (index[1:] >= 0) & ~is_last[1:-1]
        edges = (index[:-1] * size + index[1:])[followed]
        self.follow = edges.bincount(minlength=size * size).view(size, size)

    def index(self, ids: Tensor) -> Tensor:
        """Returns the row of every pair, (...) of (..., 2); -1 where training lacks it."""
        width = int(max(self.pairs[:, 1].max(), ids[..., 1].max() if ids.numel() else 0)) + 1
        known = self.pairs[:, 0] * width + self.pairs[:, 1]
        wanted = ids[..., 0] * width + ids[..., 1]
        place = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
        return torch.where((known[place] == wanted) & (ids >= 0).all(dim=-1), place, -1)

    def most_frequent(self, num: int, hypotheses: int, steps: int) -> Tensor:
        """Returns the most frequent verb and noun at every step, (num, hypotheses, steps, 2)."""
        best = [
            torch.zeros(int(column.max()) + 1, dtype=torch.long)
            .index_add(0, column, self.count)
            .argmax()
            for column in self.pairs.T
        ]
        return torch.stack(best).expand(num, hypotheses, steps, 2)

    def by_frequency(self, num: int, hypotheses: int, steps: int, *, seed: int) -> Tensor:
        """Draws actions by their frequency, (num, hypotheses, steps, 2)."""
        generator = torch.Generator().manual_seed(seed)
        size = num * hypotheses * steps
        drawn = torch.multinomial(self.count.double(), size, replacement=True, generator=generator)
        return self._actions(drawn).view(num, hypotheses, steps, 2)

    def by_bigram(
        self, last: Tensor, hypotheses: int, steps: int, *, seed: int, temperature: float = 1.0
    ) -> Tensor:
        """Draws every action by the one before, (M, hypotheses, steps, 2).

        p(b | a) = (n(a, b) + s p(b)) / (n(a) + s), with s = `SMOOTHING`; p(b) after an action that
        training lacks.

        Args:
            last: (M, 2) last action seen.
            hypotheses: futures to draw.
            steps: of each.
            seed: of the draws.
            temperature: p is raised to its inverse.
        """
        generator = torch.Generator().manual_seed(seed)
        unigram = self.count.double() / self.count.sum()
        table = torch.cat([self.follow.double() + SMOOTHING * unigram, unigram.unsqueeze(0)])
        table = (table / table.sum(dim=1, keepdim=True)) ** (1 / temperature)
        chances = (table / table.sum(dim=1, keepdim=True)).cumsum(dim=1)  # the last row: no bigram
        state = self.index(last).repeat_interleave(hypotheses)
        drawn = []
        for _ in range(steps):
            chance = torch.rand(len(state), 1, dtype=torch.float64, generator=generator)
            state = torch.searchsorted(chances[state], chance).squeeze(1)
            state = state.clamp(max=len(self.pairs) - 1)
            drawn.append(state)
        rows = torch.stack(drawn, dim=1).flatten()
        return self._actions(rows).view(len(last), hypotheses, steps, 2)

    def _actions(self, rows: Tensor) -> Tensor:
        actions: Tensor = self.pairs[rows]
        return actions
