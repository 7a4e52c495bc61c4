"""Throughput compared with other servers of the same model on the same machine.

Rounds of both servers alternate, each a closed loop with the same clip, while the other server is
stopped.
"""

import argparse
import os
import statistics
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from bench.load import general
from bench.load.callers import Door
from bench.load.checks import Check, judged, lines
from bench.load.clips import STANDARD, LoadClip, good_clips
from bench.load.general import Plan
from bench.load.loops import run_until_stopped
from bench.load.target import Target
from bench.load.watch import cpu_s, process_tree
from bench.rivals.running import Rival, first_answer, missing, paused, rivals, running
from clients.local import LocalServer, check_stopped

TOLERANCE = 1e-5
"""How far two servers' probabilities may lie apart: they must do the same work."""


@dataclass(frozen=True)
class Side:
    """A server to be measured, and its process."""

    door: Door
    pid: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    parser.add_argument("--concurrency", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default: 3)")
    parser.add_argument("--calls", type=int, default=48, help="in a round (default: 48)")
    parser.add_argument("--only", action="append", metavar="MODULE", help="plain, lit, ray_serve")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    cores = len(os.sched_getaffinity(0))
    wanted = [r for r in rivals(cores) if not arguments.only or r.module in arguments.only]
    (clip,) = good_clips(STANDARD)
    plan = Plan([clip], concurrency=arguments.concurrency, calls=arguments.calls)
    found: dict[str, Any] = {}
    not_measured = missing(wanted)
    with LocalServer() as server, suppress(KeyboardInterrupt):
        for rival in tqdm([one for one in wanted if one.is_installed], desc="rivals"):
            try:
                with running(rival) as (url, pid):
                    _check_same(server.url, url, clip)
                    sides = {
                        "ours": Side(Door(server.url), server.pid),
                        "theirs": Side(Door(url, "/predict"), pid),
                    }
                    found[rival.name] = _duel(sides, plan, arguments.rounds)
            except RuntimeError as error:  # one that fails must not cost the others' figures
                not_measured.append(f"{rival.name}: not measured; {error}")
    check_stopped(server)
    return {
        "concurrency": arguments.concurrency,
        "cores": cores,
        "clip": clip.name,
        "rivals": found,
        "not_measured": not_measured,
        **judged(_checks(wanted, found)),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    rows = [
        f"{figures['clip']}, concurrency {figures['concurrency']}, {figures['cores']} cores",
        f"{'':<28}{'ours /s':>9}{'theirs /s':>11}{'ratio':>8}{'p50 ms':>16}{'p99 ms':>16}"
        f"{'core ms a clip':>18}",
    ]
    for name, found in figures["rivals"].items():
        times = [
            f"{found['ours'][place]:.0f} / {found['theirs'][place]:.0f}"
            for place in ("p50_ms", "p99_ms", "cpu_ms")
        ]
        rows.append(
            f"{name:<28}{found['ours']['per_s']:>9.2f}{found['theirs']['per_s']:>11.2f}"
            f"{found['ratio']:>8.2f}{times[0]:>16}{times[1]:>16}{times[2]:>18}"
        )
    return "\n".join([*rows, *figures["not_measured"], *lines(figures)])


def _duel(sides: dict[str, Side], plan: Plan, rounds: int) -> dict[str, Any]:
    """Returns both servers' figures; the first round of each is a warm-up."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            (other,) = (one for one in sides.values() if one is not side)
            with paused(other.pid):
                figures = _round(name, side, plan)
            if turn:
                taken[name].append(figures)
    ratios = [
        mine["answers_per_s"] / other["answers_per_s"]
        for mine, other in zip(taken["ours"], taken["theirs"], strict=True)
    ]
    sums = {name: _median(figures) for name, figures in taken.items()}
    return {**sums, "ratio": round(statistics.median(ratios), 3), "ratios": ratios}


def _round(name: str, side: Side, plan: Plan) -> dict[str, Any]:
    """Returns the figures of one round, with the ms of a core that a clip cost the server.

    Raises:
        KeyboardInterrupt: stopped by a signal.
        RuntimeError: not every call was answered, so that the rate is meaningless.
    """
    server = Target(side.door, None)
    spent_s = _spent_s(side.pid)
    figures = run_until_stopped(lambda stop: general.measure(server, plan, stop, label=name))
    if figures["interrupted"]:
        raise KeyboardInterrupt
    if set(figures["outcomes"]) != {"200"}:
        raise RuntimeError(f"{name}: expected answers only, got {figures['outcomes']}")
    calls = sum(figures["outcomes"].values())
    return {**figures, "cpu_ms": 1000 * (_spent_s(side.pid) - spent_s) / calls}


def _spent_s(pid: int) -> float:
    """Returns the seconds that a server's processes have spent on cores."""
    spent_s = 0.0
    for one in process_tree(pid):
        with suppress(OSError):  # it ended meanwhile
            spent_s += cpu_s(one)
    return spent_s


def _median(rounds: list[dict[str, Any]]) -> dict[str, float]:
    middle = statistics.median
    return {
        "per_s": round(middle(one["answers_per_s"] for one in rounds), 3),
        "p50_ms": middle(one["answer_ms"]["p50"] for one in rounds),
        "p99_ms": middle(one["answer_ms"]["p99"] for one in rounds),
        "cpu_ms": round(middle(one["cpu_ms"] for one in rounds), 1),
    }


def _check_same(ours: str, theirs: str, clip: LoadClip) -> None:
    """Raises unless both servers give the same answer to the clip.

    Raises:
        RuntimeError: they do not: one of them does other work.
    """
    form = {"video": ("clip", clip.body)}
    mine, other = (
        first_answer(url, path, form)["segments"][0]["oscc"]["probability"]
        for url, path in ((ours, "/v1/predictions"), (theirs, "/predict"))
    )
    if abs(mine - other) > TOLERANCE:
        raise RuntimeError(f"the two sides disagree: {mine} and {other}")


def _checks(wanted: list[Rival], found: dict[str, Any]) -> list[Check]:
    return [
        Check(
            f"throughput beside {rival.name}",
            f"at least {rival.goal:g} times",
            f"{found[rival.name]['ratio']:.2f} times",
            found[rival.name]["ratio"] >= rival.goal,
        )
        for rival in wanted
        if rival.goal is not None and rival.name in found
    ]
