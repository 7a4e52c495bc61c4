"""Soak test: thousands of valid and broken clips, some callers disconnecting, no leak allowed."""

import argparse
import asyncio
import os
from typing import Any

from bench.load import clips as made
from bench.load import general
from bench.load.checks import Check, at_most, judged, lines, unharmed
from bench.load.general import Plan
from bench.load.loops import run_until_stopped
from bench.load.target import Target, add_target, target

DRIFT_PERCENT = 5.0
SPARE_FDS = 3
"""Connections that may be open at a sample."""

LAZY_THREADS = 2 * min(32, (os.cpu_count() or 1) + 4)
"""Most threads of two pools of Python's default size: the event loop's, which writes the spool, and
the encoder's.

Either starts one whenever none is idle, which may be thousands of clips after the warm-up, and then
keeps it: growth up to here is a pool being filled. What a clip, a refusal or a replaced decoder
leaves behind would be far more in a soak of the default length.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    add_target(parser)
    parser.add_argument("--clips", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--concurrency", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    plan = soak_plan(arguments.clips, concurrency=arguments.concurrency, seed=arguments.seed)
    with target(arguments) as server:
        return run_until_stopped(lambda stop: measure(server, plan, stop))


def soak_plan(clips: int, *, concurrency: int = 8, seed: int = 0) -> Plan:
    """Returns the load: small clips, so that many fit in little time, and one in twenty leaves."""
    return Plan(
        clips=[*made.good_clips(made.MIDDLE, made.SMALL), *made.broken_clips()],
        concurrency=concurrency,
        calls=clips,
        hang_up=0.05,
        patience_s=0.3,
        seed=seed,
    )


async def measure(server: Target, plan: Plan, stop: asyncio.Event) -> dict[str, Any]:
    """Soaks a server and returns the figures and what they have to show."""
    load = await general.measure(server, plan, stop, label="soak")
    return {"load": load, **judged(_checks(load))}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    return "\n".join([*general.load_lines(figures["load"]), *lines(figures)])


def _checks(load: dict[str, Any]) -> list[Check]:
    checks = unharmed(load, "other answers than the clip's own")
    if (moved := load["server"]) is not None:
        more = {name: moved[name]["last"] - moved[name]["first"] for name in ("fds", "threads")}
        checks += [
            at_most("memory grows by", moved["rss_mb"]["drift_percent"], DRIFT_PERCENT, "%"),
            at_most("descriptors more at the end", more["fds"], SPARE_FDS, "of them"),
            at_most("threads more at the end", more["threads"], LAZY_THREADS, "of them"),
        ]
    return checks
