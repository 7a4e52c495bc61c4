"""Interleaved timing of alternatives, so that machine noise affects all alike.

CPU time is the main figure, as other processes affect it less.
"""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], Any]


def duel(ways: Mapping[str, Call], *, rounds: int, label: str) -> dict[str, dict[str, float]]:
    """Returns the times of each alternative, in milliseconds of CPU and wall-clock time.

    Args:
        ways: name -> a call; each has one warm-up call.
        rounds: timed calls of each, interleaved.
        label: on the progress bar.
    """
    from tqdm import tqdm  # may be missing where a GPU is measured

    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds + 1), desc=label, unit="round"):
        for name, call in ways.items():
            started = now()
            call()
            if turn:
                taken[name].append(since(started))
    return {name: spread(values) for name, values in taken.items()}


def now() -> tuple[float, float]:
    """Returns seconds of CPU time, with that of ended children, and of wall-clock time."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + spent.ru_utime + spent.ru_stime, time.perf_counter()


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Returns the differences of both."""
    cpu, wall = now()
    return cpu - started[0], wall - started[1]


def spread(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Returns medians of (processor, clock) seconds, in milliseconds."""
    cpu, wall = ([1000 * s for s in column] for column in zip(*taken, strict=True))
    return {
        "cpu_ms": round(statistics.median(cpu), 2),
        "least_cpu_ms": round(min(cpu), 2),
        "wall_ms": round(statistics.median(wall), 2),
    }


def times_faster(
    figures: Mapping[str, Mapping[str, float]], fast: str, slow: str, *, threads: int
) -> float:
    """Returns the ratio of two medians, of CPU time, or of wall-clock time with several threads."""
    by = "cpu_ms" if threads == 1 else "wall_ms"
    return round(figures[slow][by] / figures[fast][by], 2)
