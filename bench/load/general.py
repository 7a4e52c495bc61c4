"""General load test: open or closed loop, mixed clips, some callers disconnecting."""

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from bench.load import clips as made
from bench.load.answers import Answer, summarise
from bench.load.callers import Callers, Door
from bench.load.loops import closed_loop, impatience, open_loop, run_until_stopped
from bench.load.target import Target, add_target, target
from bench.load.watch import trend, watched

MIXES: dict[str, Callable[[], list[made.LoadClip]]] = {
    "standard": lambda: made.good_clips(made.STANDARD),
    "small": lambda: made.good_clips(made.SMALL),
    "good": made.good_clips,
    "mixed": lambda: [*made.good_clips(), *made.broken_clips()],
}
"""Name of a mix -> what makes its clips."""


@dataclass(frozen=True)
class Plan:
    """A load.

    Attributes:
        clips: the mix.
        concurrency: of a closed loop.
        rate: of an open loop, calls a second; None: a closed loop.
        duration_s: how long to send; None: until `calls` were made.
        calls: in all, in a closed loop.
        slo_s: an answer later than this is of no use.
        hang_up: share of callers who leave before they could have their answer.
        patience_s: those leave at any instant before this.
        obey: retry as Retry-After says.
        seed: of everything drawn.
    """

    clips: list[made.LoadClip]
    concurrency: int = 8
    rate: float | None = None
    duration_s: float | None = None
    calls: int | None = None
    slo_s: float = 2.0
    hang_up: float = 0.0
    patience_s: float = 1.0
    obey: bool = False
    seed: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    add_target(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--rate", type=float, help="open loop: mean calls a second")
    kind.add_argument("--concurrency", type=int, default=8, help="closed loop (default: 8)")
    parser.add_argument("--seconds", type=float, default=30.0, help="default: %(default)s")
    parser.add_argument("--mix", choices=sorted(MIXES), default="good", help="default: %(default)s")
    parser.add_argument("--slo-s", type=float, default=2.0, help="for goodput (default: 2)")
    parser.add_argument("--hang-up", type=float, default=0.0, help="share of callers who leave")
    parser.add_argument("--obey", action="store_true", help="come back after Retry-After")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    plan = Plan(
        clips=MIXES[arguments.mix](),
        concurrency=arguments.concurrency,
        rate=arguments.rate,
        duration_s=arguments.seconds,
        slo_s=arguments.slo_s,
        hang_up=arguments.hang_up,
        obey=arguments.obey,
        seed=arguments.seed,
    )
    with target(arguments) as server:
        return run_until_stopped(lambda stop: measure(server, plan, stop))


async def measure(
    server: Target, plan: Plan, stop: asyncio.Event, *, label: str = "load"
) -> dict[str, Any]:
    """Puts a load on a server and returns the figures; `stop` is set to end early."""
    begun_s = time.monotonic()
    async with watched(server.pid) as samples:
        answers = await send(server.door, plan, stop, label=label, arrivals_seed=plan.seed + 2)
    figures = summarise(answers, elapsed_s=time.monotonic() - begun_s, slo_s=plan.slo_s)
    loop = {"rate": plan.rate} if plan.rate is not None else {"concurrency": plan.concurrency}
    return {**loop, **figures, "server": trend(samples), "interrupted": stop.is_set()}


async def send(
    door: Door, plan: Plan, stop: asyncio.Event, *, label: str, arrivals_seed: int
) -> list[Answer]:
    """Sends the clips of a plan and returns all answers; the label is the progress bar's."""
    leave = impatience(plan.hang_up, longest_s=plan.patience_s, seed=plan.seed + 1)
    clips = made.draw(plan.clips, seed=plan.seed)
    with tqdm(total=plan.calls, desc=label, unit="call", disable=_is_quiet()) as bar:
        async with Callers(door, obey=plan.obey) as callers:
            if plan.rate is None:
                await closed_loop(
                    callers,
                    clips,
                    concurrency=plan.concurrency,
                    calls=plan.calls,
                    duration_s=plan.duration_s,
                    stop=stop,
                    progress=bar.update,
                    patience=leave,
                )
            else:
                await open_loop(
                    callers,
                    clips,
                    rate=plan.rate,
                    duration_s=plan.duration_s or 30.0,
                    seed=arrivals_seed,
                    stop=stop,
                    progress=bar.update,
                    patience=leave,
                )
    return callers.answers


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    return "\n".join(load_lines(figures))


def load_lines(figures: dict[str, Any]) -> list[str]:
    """Returns one load's figures, a line each."""
    lines = [
        f"{figures['calls']} calls in {figures['elapsed_s']:.1f} s: "
        f"{figures['answers_per_s']:.2f} answers/s, "
        f"{figures['goodput_per_s']:.2f}/s within {figures['slo_s']:g} s",
        f"{'':<14}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}",
    ]
    for name in ("answer_ms", "refusal_ms"):
        if (found := figures[name]) is not None:
            cells = "".join(f"{found[place]:>9.1f}" for place in ("p50", "p95", "p99", "max"))
            lines.append(f"{name.replace('_', ' '):<14}{cells}")
    lines += [f"  {count:>7} x {outcome}" for outcome, count in figures["outcomes"].items()]
    if (waits := figures["retry_after_s"]) is not None:
        lines.append(f"Retry-After {waits['least']} to {waits['most']} s")
    for name, moved in (figures["server"] or {}).items():
        lines.append(
            f"server {name:<14}{moved['first']:>9.1f} -> {moved['last']:.1f} "
            f"({moved['drift_percent']:+.1f} %, most {moved['most']:.1f})"
        )
    return [*lines, *(["(interrupted)"] if figures["interrupted"] else [])]


def _is_quiet() -> bool | None:
    """Whether to disable the progress bar; None disables it if stderr is no terminal."""
    return True if "PYTEST_CURRENT_TEST" in os.environ else None
