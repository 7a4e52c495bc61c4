"""Latency of an 8 s clip while the server processes a job of an hour of video.

One caller sends the clip repeatedly: first alone, then beside the job.
"""

import argparse
import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from bench.load import general
from bench.load.checks import Check, at_most, judged, lines
from bench.load.clips import STANDARD, good_clips
from bench.load.general import Plan
from bench.load.loops import run_until_stopped
from bench.load.target import Target, add_target, target
from bench.videos import make_clip, repeat_video

RATIO = 2.0
ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    add_target(parser)
    parser.add_argument("--calls", type=int, default=100, help="alone, and beside (default: 100)")
    parser.add_argument("--minutes", type=int, default=60, help="of the job (default: 60)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        minute = make_clip(Path(folder) / "minute.mp4", seconds=60)
        long = Path(folder) / "long.mp4"
        video = repeat_video(minute, long, arguments.minutes, movflags="faststart")
        with target(arguments) as server:
            return run_until_stopped(lambda stop: measure(server, video, arguments.calls, stop))


async def measure(server: Target, video: Path, calls: int, stop: asyncio.Event) -> dict[str, Any]:
    """Measures a short clip alone and beside a job of the video, so many calls each time.

    Raises:
        RuntimeError: the server takes no jobs, or ends this one before it could matter.
    """
    plan = Plan(good_clips(STANDARD), concurrency=1, calls=calls)
    await general.measure(server, Plan(plan.clips, concurrency=1, calls=5), stop, label="warm-up")
    alone = await general.measure(server, plan, stop, label="alone")
    async with httpx.AsyncClient(
        base_url=server.door.url, headers=dict(server.door.headers), trust_env=False, timeout=600
    ) as http:
        job = await _submit(http, video)
        try:
            await _wait_running(http, job, stop)
            beside = await general.measure(server, plan, stop, label="beside")
            state = await _state(http, job)
        finally:
            with suppress(httpx.HTTPError):
                await http.post(f"{job}/cancel")
    ratio = round(beside["answer_ms"]["p99"] / alone["answer_ms"]["p99"], 2)
    checks = [
        at_most("p99 beside the job is larger by", ratio, RATIO, "times"),
        Check("the job was still running", "running", state, state == "running"),
    ]
    return {"alone": alone, "beside": beside, "ratio": ratio, **judged(checks)}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    rows = ["alone:", *general.load_lines(figures["alone"]), "", "beside the job:"]
    return "\n".join([*rows, *general.load_lines(figures["beside"]), "", *lines(figures)])


async def _submit(http: httpx.AsyncClient, video: Path) -> str:
    """Returns the address of the accepted job."""
    response = await http.post(
        "/v1/predictions",
        content=video.read_bytes(),
        headers={"Prefer": "respond-async", "Content-Type": "video/mp4"},
    )
    if response.status_code != 202:
        raise RuntimeError(f"expected 202 for a job, got {response.status_code}: {response.text}")
    return response.headers["location"]


async def _wait_running(http: httpx.AsyncClient, job: str, stop: asyncio.Event) -> None:
    while (state := await _state(http, job)) != "running" and not stop.is_set():
        if state in ENDED:
            raise RuntimeError(f"the job {state} before the clip could be sent beside it")
        await asyncio.sleep(0.5)


async def _state(http: httpx.AsyncClient, job: str) -> str:
    return str((await http.get(job)).raise_for_status().json()["state"])
