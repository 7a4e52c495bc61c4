"""Two ways to do one thing, timed in turn, so that both meet the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

Call = Callable[[], Any]


def duel(ways: Mapping[str, Call], *, rounds: int, label: str) -> dict[str, dict[str, float]]:
    """Returns what each way takes, in milliseconds: median and least of all rounds.

    Args:
        ways: name -> a call; each is made once before it is timed.
        rounds: timed calls of each way; they take turns.
        label: on the progress bar.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds + 1), desc=label, unit="round"):
        for name, call in ways.items():
            started_s = time.perf_counter()
            call()
            if turn:
                taken[name].append((time.perf_counter() - started_s) * 1000)
    return {name: spread(values) for name, values in taken.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Returns median and least."""
    return {"median_ms": round(statistics.median(values), 2), "min_ms": round(min(values), 2)}


def times_faster(figures: Mapping[str, Mapping[str, float]], fast: str, slow: str) -> float:
    """Returns the ratio of two ways' medians."""
    return round(figures[slow]["median_ms"] / figures[fast]["median_ms"], 2)
