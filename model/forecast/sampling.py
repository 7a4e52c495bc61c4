"""Futures of windows by the sequence forecaster: seeded draws after what was recognised before."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data.sequences import Windows
from model.forecast.drawing import draw_futures
from model.forecast.forecaster import SequenceForecaster

BATCH = 32
"""Windows sampled together."""


@dataclass(frozen=True, eq=False)
class PastActions:
    """What is known of the actions that windows may see.

    A recognised action depends on how much of what follows it has been observed: the last action of
    a window is recognised without any neighbour after it.

    Attributes:
        verb: (A, R, V) distributions; in column r, r later actions were observed, in the last more.
        noun: (A, R, W) likewise.
    """

    verb: Tensor
    noun: Tensor

    @classmethod
    def labels(cls, ids: Tensor, num_verbs: int, num_nouns: int) -> "PastActions":
        """Returns true actions, (A, 2); negative ids are unknown, with zeros in their place."""
        verb, noun = (
            one_hot(ids[:, place], size).unsqueeze(1)
            for place, size in enumerate((num_verbs, num_nouns))
        )
        return cls(verb, noun)

    def seen_by(self, windows: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Returns verb (M, L, V), noun (M, L, W) and mask (M, L) of each window's past."""
        position, is_step = windows.past()
        later = (windows.last.unsqueeze(1) - position).clamp(max=self.verb.shape[1] - 1)
        mask = is_step.unsqueeze(-1)
        return self.verb[position, later] * mask, self.noun[position, later] * mask, is_step

    def best(self) -> Tensor:
        """Returns the most probable verb and noun of every action, (A, R, 2)."""
        return torch.stack([self.verb.argmax(dim=2), self.noun.argmax(dim=2)], dim=2)


@dataclass(frozen=True, eq=False)
class SampledForecast:
    """Futures of one window.

    Attributes:
        futures: "verb" and "noun" -> (N, Z) ids.
        marginals: "verb" and "noun" -> (Z, Y) probabilities of every step, the mean over the
            futures of the distributions that their steps were drawn from.
    """

    futures: dict[str, Tensor]
    marginals: dict[str, Tensor]


def sample_past(
    forecaster: SequenceForecaster, verb: Tensor, noun: Tensor, seed: int, *, count: int, steps: int
) -> SampledForecast:
    """Draws futures after one past.

    Args:
        forecaster: on the CPU.
        verb: (L, V) distributions of the actions so far, oldest first.
        noun: (L, W) likewise.
        seed: of the draws.
        count: futures to draw, N.
        steps: of each, Z.
    """
    memory = forecaster.remember(verb[None], noun[None], torch.ones(1, len(verb), dtype=torch.bool))
    rows, chance = draw_futures(forecaster, memory, draw_chances(seed, count, steps).unsqueeze(0))
    futures, marginals = {}, {}
    for name, ids, width in zip(
        ("verb", "noun"), forecaster.pairs.T, (verb.shape[1], noun.shape[1]), strict=True
    ):
        futures[name] = ids[rows[0]]
        marginals[name] = chance.new_zeros(steps, width).index_add(1, ids, chance[0])
    return SampledForecast(futures, marginals)


def one_hot(ids: Tensor, size: int) -> Tensor:
    """Returns (..., size) float32; zeros for negative ids."""
    return F.one_hot(ids.clamp(min=0), size).float() * (ids >= 0).unsqueeze(-1)


def draw_chances(seed: int, count: int, steps: int) -> Tensor:
    """Returns the random numbers of one window's futures, (count, steps) float64 in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, steps, dtype=torch.float64, generator=generator)


@torch.inference_mode()
def sample_windows(
    forecaster: SequenceForecaster,
    past: PastActions,
    windows: Windows,
    seeds: Sequence[int],
    *,
    count: int,
    steps: int,
) -> dict[str, Tensor]:
    """Draws futures after every window; a window's draws depend on its seed and past alone.

    Args:
        forecaster: on the CPU.
        past: of all actions.
        windows: what is seen.
        seeds: of each window.
        count: futures to draw, N.
        steps: of each, Z.

    Returns:
        "verb" and "noun" -> (M, N, Z) ids.
    """
    rows = torch.zeros(len(windows), count, steps, dtype=torch.long)
    for which in (windows.last - windows.first).argsort(stable=True).split(BATCH):
        verb, noun, is_step = past.seen_by(windows.take(which))
        chances = [draw_chances(seeds[i], count, steps) for i in which.tolist()]
        memory = forecaster.remember(verb, noun, is_step)
        rows[which], _ = draw_futures(forecaster, memory, torch.stack(chances))
    verb, noun = forecaster.pairs[rows].unbind(-1)
    return {"verb": verb, "noun": noun}
