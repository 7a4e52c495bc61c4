"""Validation of the capacity model on a real server: several loads, measured and predicted.

Stages are measured one call at a time, before and after the loads: if the two differ much, the
machine has changed in between, and no prediction can hold.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.capacity.check import compare
from bench.capacity.check.probe import Alone, Growth, call_alone, measure_growth, stages_of
from bench.capacity.simulation.loads import load_simpy
from bench.capacity.simulation.stages import Box, Stages
from bench.load import clips as made
from bench.load.callers import Door
from bench.load.checks import judged
from bench.load.general import Plan, send
from bench.load.loops import run_until_stopped, stop_in_order
from bench.load.target import Target
from clients.local import LocalServer, check_stopped
from extract.sandbox.pool import DecodePool
from server.engine.bundle_loader import load_predictor
from server.engine.decode_stage import limits_of
from server.engine.engine import CLIPS_AHEAD
from server.scheduling.model_thread import NICENESS
from server.settings.settings import Settings

SHARES = (0.4, 0.7, 0.9)
CALLERS = 16
WORKERS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the check's flags."""
    parser.add_argument("--seconds", type=float, default=50.0, help="of each load (default: 50)")
    parser.add_argument(
        "--calls", type=int, default=15, help="alone, of each clip, twice (default: 15)"
    )
    parser.add_argument("--clips", choices=("standard", "good"), default="good", help="the mix")
    parser.add_argument("--plot", type=Path, help="draw what was predicted and met, as SVG")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures the stages, predicts, measures the loads and compares.

    Raises:
        ImportError: simpy is missing.
        RuntimeError: it was stopped.
    """
    load_simpy()  # before minutes have passed
    stop_in_order()
    others = busy_cores(1.0)
    settings = Settings(decode_workers=WORKERS)
    clips = made.good_clips(*([made.STANDARD] if arguments.clips == "standard" else []))
    growth = _growth(settings, clips[0], rounds=max(3, arguments.calls // 4))
    with LocalServer("--decode-workers", str(WORKERS)) as local:
        server = Target(Door(local.url), local.pid)
        before, after, loads = run_until_stopped(
            lambda stop: _measure(server, clips, arguments.calls, arguments.seconds, stop)
        )
    check_stopped(local)
    alone = {name: one.joined(after[name]) for name, one in before.items()}
    stages, box = stages_of(alone, growth), box_of(settings)
    rows = [compare.predicted(load, stages, box, alone) for load in loads]
    if arguments.plot is not None:
        from bench.capacity.plot import draw_check  # matplotlib takes a second

        draw_check(arguments.plot, rows)
    return {
        "encoder": "tabletop",
        "others_busy_cores": round(others, 2),
        "drift": round(_posts_s(after) / _posts_s(before) - 1, 3),
        "stages": shown(alone, stages),
        "rates": compare.rates_of(stages, {c.name: made.GOOD[c.name] for c in clips}),
        "box": asdict(box),
        "loads": rows,
        "closed_form": compare.closed_form_beside_simulation(stages, box, alone, SHARES),
        **judged(compare.checks_of(rows)),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    return "\n".join(compare.lines_of(figures))


async def _measure(
    server: Target, clips: list[made.LoadClip], calls: int, seconds: float, stop: asyncio.Event
) -> tuple[dict[str, Alone], dict[str, Alone], list[compare.Load]]:
    """Returns the stages' times before and after, and the figures of every load, on one server.

    Raises:
        RuntimeError: it was stopped, which leaves no comparison.
    """
    await _load(server, clips, 3.0, stop)  # starts every thread and process there will be
    before = {clip.name: await call_alone(server, clip, calls) for clip in clips}
    full = await _load(server, clips, seconds, stop)
    loads = [full]
    for number, share in enumerate(SHARES):
        name, rate = f"open, {share:.0%} of capacity", share * full.per_s
        loads.append(await _load(server, clips, seconds, stop, name, rate=rate, seed=number))
    after = {clip.name: await call_alone(server, clip, calls) for clip in clips}
    if stop.is_set():
        raise RuntimeError("stopped before every load was measured")
    return before, after, loads


async def _load(
    server: Target,
    clips: list[made.LoadClip],
    seconds: float,
    stop: asyncio.Event,
    name: str = f"closed, {CALLERS} callers",
    *,
    rate: float | None = None,
    seed: int = 0,
) -> compare.Load:
    plan = Plan(clips, concurrency=CALLERS, rate=rate, duration_s=seconds, seed=seed)
    answers = await send(server.door, plan, stop, label=name, arrivals_seed=seed)
    return compare.Load(name, answers, rate=rate or 0.0, callers=CALLERS, duration_s=seconds)


def _growth(settings: Settings, clip: made.LoadClip, *, rounds: int) -> Growth:
    """Stage costs measured in this process, without a server running."""
    with (
        tempfile.TemporaryDirectory() as folder,
        DecodePool(workers=_cores(), limits=limits_of(settings), reader=settings.reader) as pool,
    ):
        path = Path(folder) / "clip.mp4"
        path.write_bytes(clip.body)
        return measure_growth(load_predictor(settings), pool, path, rounds=rounds)


def box_of(settings: Settings) -> Box:
    """Returns this machine with a server of such settings."""
    return Box(
        cores=_cores(),
        decoders=settings.decode_workers,
        torch_threads=torch.get_num_threads(),
        clips_ahead=CLIPS_AHEAD,
        max_requests=settings.max_requests,
        max_queued_windows=settings.max_queued_windows,
        max_batch_windows=settings.max_batch_windows,
        max_batch_requests=settings.max_batch_requests,
        max_wait_s=settings.max_wait_ms / 1000,
        niceness=NICENESS,
        grouped=_is_grouped(),
    )


def shown(alone: dict[str, Alone], stages: Stages) -> dict[str, Any]:
    """Returns the stage times as plain values, milliseconds."""
    kinds = {
        name: {
            "post": _ms(sum(one.post_s) / len(one.post_s)),
            **{stage: _ms(one.mean_s(stage)) for stage in one.stages},
            "caller": _ms(one.caller_s),
            "work": _ms(stages.work_s(name)),
        }
        for name, one in alone.items()
    }
    return {
        "alone_mean_ms": kinds,
        "features_ms": {name: _ms(s) for name, s in asdict(stages.features).items()},
        "reason_ms": {name: _ms(s) for name, s in asdict(stages.reason).items()},
        "parallel_loss": round(stages.parallel_loss, 3),
        "slowdown": round(stages.slowdown, 3),
    }


def _posts_s(alone: dict[str, Alone]) -> float:
    """Seconds of one call with each kind of clip."""
    return sum(statistics.fmean(one.post_s) for one in alone.values())


def busy_cores(seconds: float) -> float:
    """Returns the cores that other processes use now; close to none on an idle machine."""
    before, started_s = _idle_s(), time.monotonic()
    time.sleep(seconds)
    return max(0.0, (os.cpu_count() or 1) - (_idle_s() - before) / (time.monotonic() - started_s))


def _idle_s() -> float:
    """Of all cores together, waiting for disks included, since the machine started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _is_grouped() -> bool:
    """Whether Linux divides time among sessions first."""
    try:
        return Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1"
    except OSError:
        return False


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
