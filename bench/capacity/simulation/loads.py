"""Simulated loads and the latencies of their callers."""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.capacity.simulation.pipeline import Pipeline, Steps
from bench.capacity.simulation.stages import Box, Stages
from bench.load.answers import percentile


@dataclass(frozen=True)
class Met:
    """Latencies of one simulated load.

    Attributes:
        took_s: of each answer, in the order of their ends.
        ended_s: when each answer came.
        arrived: requests.
        refused: of them.
        inside: of them, when the simulation ended.
        elapsed_s: until it ended.
        busy: share of the cores' time.
    """

    took_s: list[float]
    ended_s: list[float]
    arrived: int
    refused: int
    inside: int
    elapsed_s: float
    busy: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.elapsed_s

    def quantile_s(self, share: float) -> float:
        """Returns what this share of the answers did not take longer than."""
        return percentile(sorted(self.took_s), share)


def open_load(
    stages: Stages,
    box: Box,
    arrivals: Sequence[tuple[float, str]],
    *,
    seed: int = 0,
    until_s: float | None = None,
) -> Met:
    """Simulates an open loop: arrivals, each a time and a kind of clip, independent of answers.

    It ends at `until_s`; default: when the last answer is there.
    """

    def start(env: Any, call: Callable[[str], Steps]) -> Steps:
        for at_s, kind in arrivals:
            yield env.timeout(max(0.0, at_s - env.now))
            env.process(call(kind))

    return _simulate(stages, box, start, seed, until_s)


def closed_load(
    stages: Stages,
    box: Box,
    kinds: Iterator[str],
    *,
    callers: int,
    duration_s: float,
    seed: int = 0,
) -> Met:
    """Simulates a closed loop: for a while, callers send the next clip after each answer."""

    def start(env: Any, call: Callable[[str], Steps]) -> Steps:
        def caller() -> Steps:
            while env.now < duration_s:
                yield env.process(call(next(kinds)))

        yield env.all_of([env.process(caller()) for _ in range(callers)])

    return _simulate(stages, box, start, seed, None)


def poisson(
    rate: float, count: int, shares: dict[str, float], *, seed: int
) -> list[tuple[float, str]]:
    """Returns the instants and kinds of Poisson arrivals at a mean rate per second."""
    rng = random.Random(seed)
    kinds, weights = list(shares), list(shares.values())
    at_s = 0.0
    drawn = []
    for _ in range(count):
        at_s += rng.expovariate(rate)
        drawn.append((at_s, rng.choices(kinds, weights)[0]))
    return drawn


def capacity_per_s(stages: Stages, box: Box, shares: dict[str, float], *, seed: int = 0) -> float:
    """Returns the throughput at saturation, answers per second."""
    rng = random.Random(seed)
    kinds, weights = list(shares), list(shares.values())
    draw = iter(lambda: rng.choices(kinds, weights)[0], None)
    mean_s = statistics.fmean(stages.work_s(kind) for kind in kinds)
    return closed_load(
        stages, box, draw, callers=8 * box.cores, duration_s=400 * mean_s / box.cores, seed=seed
    ).per_s


def _simulate(
    stages: Stages, box: Box, start: Callable[..., Steps], seed: int, until_s: float | None
) -> Met:
    simpy = load_simpy()
    env = simpy.Environment()
    pipeline = Pipeline(env, stages, box, random.Random(seed))
    took_s: list[float] = []
    ended_s: list[float] = []

    def call(kind: str) -> Steps:
        came_s = env.now
        if (yield env.process(pipeline.call(kind))):
            took_s.append(env.now - came_s)
            ended_s.append(env.now)

    env.process(start(env, call))
    env.run(until_s)
    elapsed_s = env.now if until_s is not None else max(ended_s, default=env.now)
    return Met(
        took_s,
        ended_s,
        pipeline.arrived,
        pipeline.refused,
        pipeline.inside,
        elapsed_s,
        pipeline.cores.busy_s / (elapsed_s * box.cores) if elapsed_s else 0.0,
    )


def load_simpy() -> Any:
    """Returns simpy.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import simpy
    except ImportError as error:
        raise ImportError(
            'the simulation needs simpy: pip install "egopack-server[scale]"'
        ) from error
    return simpy
