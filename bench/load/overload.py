"""Overload test: excess requests are refused at once with Retry-After, the others answered in time.

A closed loop measures the throughput, then an open loop sends several times that rate.
"""

import argparse
import asyncio
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bench.load import clips as made
from bench.load import general
from bench.load.checks import Check, at_most, judged, lines, none_of, unharmed
from bench.load.general import Plan
from bench.load.loops import run_until_stopped
from bench.load.target import Target, add_target, target

DRIFT_PERCENT = 5.0


@dataclass(frozen=True)
class Overload:
    """Size and duration of the load.

    Attributes:
        clips: the mix.
        times: the rate, as a multiple of what the server can do.
        seconds: duration of the open loop.
        probe_s: how long to find out what it can do.
        refusal_ms: how soon a refusal has to come, 99 times of 100.
    """

    clips: list[made.LoadClip]
    times: float = 4.0
    seconds: float = 300.0
    probe_s: float = 20.0
    refusal_ms: float = 50.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    add_target(parser)
    parser.add_argument("--times", type=float, default=4.0, help="capacity (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=5.0, help="default: %(default)s")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    wanted = Overload(made.good_clips(), arguments.times, 60 * arguments.minutes)
    with target(arguments) as server:
        return run_until_stopped(lambda stop: measure(server, wanted, stop))


async def measure(server: Target, wanted: Overload, stop: asyncio.Event) -> dict[str, Any]:
    """Overloads a server and returns the figures and what they have to show."""
    deadline_s = await _deadline_s(server)
    plan = Plan(wanted.clips, concurrency=16, duration_s=wanted.probe_s)
    probe = await general.measure(server, plan, stop, label="capacity")
    capacity = probe["answers_per_s"]
    if not capacity:
        raise RuntimeError(f"the server answers nothing: {probe['outcomes']}")
    plan = replace(plan, rate=wanted.times * capacity, duration_s=wanted.seconds)
    load = await general.measure(server, plan, stop, label="overload")
    return {
        "capacity_per_s": capacity,
        "times": wanted.times,
        "deadline_s": deadline_s,
        "load": load,
        **judged(_checks(load, deadline_s, wanted.refusal_ms)),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    head = (
        f"capacity {figures['capacity_per_s']:.2f}/s; "
        f"{figures['load']['rate']:.2f} calls/s for a while:"
    )
    return "\n".join([head, *general.load_lines(figures["load"]), *lines(figures)])


def _checks(load: dict[str, Any], deadline_s: float, refusal_ms: float) -> list[Check]:
    refusal, answer, moved = load["refusal_ms"], load["answer_ms"], load["server"]
    waits = load["retry_after_s"]
    checks = [
        at_most("99 of 100 refusals come in", refusal and refusal["p99"], refusal_ms, "ms"),
        none_of("refusals without Retry-After", waits["missing"] if waits else 0),
        *unharmed(load, "other answers than the clip's own or a refusal"),
        at_most(
            "99 of 100 accepted are answered in",
            answer and answer["p99"] / 1000,
            deadline_s,
            "s",
        ),
    ]
    if moved is not None:
        drift = moved["rss_mb"]["drift_percent"]
        checks.append(at_most("memory grows by", drift, DRIFT_PERCENT, "%"))
    return checks


async def _deadline_s(server: Target) -> float:
    """The server's own deadline, as it states it."""
    async with httpx.AsyncClient(
        base_url=server.door.url, headers=dict(server.door.headers), trust_env=False
    ) as http:
        limits = (await http.get("/v1/limits")).raise_for_status().json()
        return float(limits["timeout_s"])
