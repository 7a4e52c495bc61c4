"""Live streams: lag of one, how many are held, twice as many, and memory over an hour.

Senders share the machine with the server, so their time is in every figure.
"""

import argparse
import asyncio
import os
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from bench.live.floor import floor
from bench.live.streams import RATE, Stream, lags, pictures, run_streams
from bench.load.checks import Check, at_most, judged, lines, none_of
from bench.load.watch import look
from clients.api.live import LivePlace
from clients.local import LocalServer, check_stopped

SIZES = {"320x240": (320, 240), "1280x720": (1280, 720)}
LAG_P50_MS = {"320x240": 250.0, "1280x720": 600.0}
SHARE = 0.7
GROWTH_PERCENT = 5.0
OPEN = ("--live-sessions=4096", "--live-windows-s=1000000", "--max-caller-share=1")
"""Flags that let in any number of streams."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stream (default: 30)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the long one (default: 60)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "seconds": arguments.seconds}
    checks: list[Check] = []
    for name in tqdm(arguments.parts, desc="live", unit="part"):
        figures[name], more = PARTS[name](arguments, figures)
        checks += more
    return {**figures, **judged(checks)}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    rows = [f"{figures['cores']} cores, streams of {figures['seconds']:g} s, {RATE} a second"]
    for size, found in figures.get("lag", {}).items():
        rows.append(f"one stream of {size}: {_words(found)}")
    if held := figures.get("hold"):
        spent = ", ".join(f"{name[:-3]} {value:g}" for name, value in held["floor_ms"].items())
        rows += [
            f"held without a window left out: {held['streams']}, {_words(held['lag'])}",
            f"floor, ms of a core a second of stream: {spent}",
            f"share of the floor of decoding and encoding: {held['share']:.2f}; "
            f"with reasoning: {held['share_with_reasoning']:.2f}",
        ]
    if twice := figures.get("twice"):
        rows.append(
            f"{twice['opened']} opened: {twice['refused']} refused, {twice['left_out']} windows "
            f"of the others left out, {_words(twice['lag'])}"
        )
    if hour := figures.get("hour"):
        rows.append(
            f"memory after a minute {hour['first_mb']:g} MB, after {hour['minutes']:g} minutes "
            f"{hour['last_mb']:g} MB"
        )
    return "\n".join([*rows, *lines(figures)])


def _words(lag: dict[str, float] | None) -> str:
    return "no answer" if lag is None else f"lag p50 {lag['p50']:g} ms, p99 {lag['p99']:g} ms"


def _lag(arguments: argparse.Namespace, _: dict[str, Any]) -> tuple[dict[str, Any], list[Check]]:
    """One stream beside nothing else."""
    found, checks = {}, []
    with LocalServer() as server:
        for size, (width, height) in SIZES.items():
            streams = _send(server, 1, arguments.seconds, pictures(width, height))
            found[size] = measured = lags(streams)
            p50_ms = None if measured is None else measured["p50"]
            checks.append(at_most(f"lag p50, {size}", p50_ms, LAG_P50_MS[size], "ms"))
            checks.append(none_of(f"windows left out, {size}", _left_out(streams)))
    check_stopped(server)
    return found, checks


def _hold(arguments: argparse.Namespace, _: dict[str, Any]) -> tuple[dict[str, Any], list[Check]]:
    """The most streams of which no window is left out, beside what the floor allows."""
    images = pictures(*SIZES["320x240"])
    spent = floor(images)
    tried: dict[int, list[Stream]] = {}
    with LocalServer(*OPEN) as server:

        def is_held(count: int) -> bool:
            # One after another: those of one instant wait for the start of all their decoders.
            tried[count] = _send(server, count, arguments.seconds, images, opening_strides=1)
            return not _left_out(tried[count]) and all(s.is_summarised for s in tried[count])

        count = most(is_held, 4)
    check_stopped(server)
    cores = len(os.sched_getaffinity(0))
    least_ms = spent["decode_ms"] + spent["encode_ms"]
    bare = 1000 * cores / least_ms
    reasoned = 1000 * cores / (least_ms + spent["reason_ms"])
    share = round(count / bare, 3)
    figures = {
        "streams": count,
        "lag": lags(tried.get(count, [])),
        "floor_ms": spent,
        "floor_streams": round(bare, 1),
        "share": share,
        "share_with_reasoning": round(count / reasoned, 3),
    }
    check = Check("streams held", f"at least {SHARE:g} of the floor", f"{share:g}", share >= SHARE)
    return figures, [check]


def most(is_held: Callable[[int], bool], first: int) -> int:
    """Returns the most that is held: doubling until one is not, then halving the rest; 0: none."""
    low, high = 0, first
    while is_held(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_held(middle) else (low, middle)
    return low


def _twice(
    arguments: argparse.Namespace, figures: dict[str, Any]
) -> tuple[dict[str, Any], list[Check]]:
    """Twice as many as are held, of a server with its own limits."""
    opened = 2 * figures.get("hold", {}).get("streams", 16)
    images = pictures(*SIZES["320x240"])
    with LocalServer("--max-caller-share=1") as server:
        _send(server, 1, 5.0, images)
        before = look(server.pid).server_rss_mb
        streams = _send(server, opened, arguments.seconds, images)
        after = look(server.pid).server_rss_mb
    check_stopped(server)
    taken = [stream for stream in streams if stream.refusal is None]
    refused = opened - len(taken)
    growth = round(100 * (after - before) / before, 2)
    found = {
        "opened": opened,
        "refused": refused,
        "left_out": _left_out(taken),
        "lag": lags(taken),
        "growth_percent": growth,
    }
    return found, [
        Check("streams refused", "some", str(refused), refused > 0),
        none_of("windows left out of those taken", _left_out(taken)),
        none_of("streams that ended early", sum(not s.is_summarised for s in taken)),
    ]


def _hour(arguments: argparse.Namespace, _: dict[str, Any]) -> tuple[dict[str, Any], list[Check]]:
    """Memory of one long stream, sent as fast as it is answered."""
    images = pictures(*SIZES["320x240"])
    seen: list[float] = []
    flags = ("--live-ahead-s=1000000", f"--live-max-s={60 * arguments.minutes + 60}")
    with LocalServer(*flags) as server:

        def watch(second: float) -> None:
            if second >= 60 * (len(seen) + 1):
                seen.append(look(server.pid).rss_mb)

        seconds = 60 * arguments.minutes + 1
        asyncio.run(
            run_streams(
                _place(server),
                1,
                seconds,
                images,
                choices={"skip": False},
                is_paced=False,
                on_answer=watch,
            )
        )
    check_stopped(server)
    growth = round(100 * (seen[-1] - seen[0]) / seen[0], 2)
    found = {
        "minutes": len(seen),
        "first_mb": seen[0],
        "last_mb": seen[-1],
        "most_mb": max(seen),
        "growth_percent": growth,
    }
    return found, [at_most("memory grows by", growth, GROWTH_PERCENT, "%")]


def _send(
    server: LocalServer,
    count: int,
    seconds: float,
    images: list[bytes],
    *,
    opening_strides: int = 0,
) -> list[Stream]:
    return asyncio.run(
        run_streams(_place(server), count, seconds, images, opening_strides=opening_strides)
    )


def _place(server: LocalServer) -> LivePlace:
    return LivePlace(server.url, None, may_use_proxy=False)


def _left_out(streams: list[Stream]) -> int:
    return sum(stream.skipped for stream in streams)


PARTS = {"lag": _lag, "hold": _hold, "twice": _twice, "hour": _hour}
