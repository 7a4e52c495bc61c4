"""Ways to do one thing, timed in turn, so that all meet the same machine.

What counts is time on the processor, so that whatever else runs there counts less.
"""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], Any]


def duel(ways: Mapping[str, Call], *, rounds: int, label: str) -> dict[str, dict[str, float]]:
    """Returns what each way takes, in milliseconds of the processor and by the clock.

    Args:
        ways: name -> a call; each is made once before it is timed.
        rounds: timed calls of each way; they take turns.
        label: on the progress bar.
    """
    from tqdm import tqdm  # not where a GPU is measured, perhaps

    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds + 1), desc=label, unit="round"):
        for name, call in ways.items():
            started = now()
            call()
            if turn:
                taken[name].append(since(started))
    return {name: spread(values) for name, values in taken.items()}


def now() -> tuple[float, float]:
    """Returns seconds on the processor, children that ended included, and by the clock."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + spent.ru_utime + spent.ru_stime, time.perf_counter()


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Returns what has passed of both."""
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
    """Returns the ratio of two ways' medians: by the clock where threads share the work."""
    by = "cpu_ms" if threads == 1 else "wall_ms"
    return round(figures[slow][by] / figures[fast][by], 2)
