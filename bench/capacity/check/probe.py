"""Stage costs on this machine, measured without load.

An idle server reports the stage times of single calls; the same code, called here, shows how the
cost of a batch grows with its size, and how much slower cores are when all of them are busy.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from tqdm import tqdm

from bench.capacity.simulation.stages import ClipCost, Law, Stages
from bench.load.clips import LoadClip
from bench.load.target import Target
from bench.load.watch import cpu_s
from extract.decode.clip import DecodedClip
from extract.features.extractor import track_from
from extract.runtime.onnx_export import made_up_windows
from extract.sandbox.pool import DecodePool
from extract.windows import stack_windows
from model.predict.predictor import Predictor, PredictRequest

BATCHES = (1, 7, 14, 28, 64)
REQUESTS = (1, 4, 16)
WARM_UP = 3
STAGES = ("queue", "decode", "features", "reason", "total")


@dataclass(frozen=True)
class Alone:
    """One kind of clip, sent again and again by one caller; seconds, a value for each call.

    Attributes:
        windows: of the clip.
        stages: by name of `STAGES`, as reported by the server.
        post_s: as the caller saw it.
        caller_s: of the caller's own work, on average.
    """

    windows: int
    stages: dict[str, list[float]]
    post_s: list[float]
    caller_s: float

    def mean_s(self, stage: str) -> float:
        """Returns a stage's mean."""
        return statistics.fmean(self.stages[stage])

    def joined(self, later: "Alone") -> "Alone":
        """Returns the calls of both."""
        return Alone(
            self.windows,
            {name: [*values, *later.stages[name]] for name, values in self.stages.items()},
            [*self.post_s, *later.post_s],
            (self.caller_s + later.caller_s) / 2,
        )


async def call_alone(server: Target, clip: LoadClip, calls: int) -> Alone:
    """Returns the times of single calls with a clip.

    Raises:
        httpx.HTTPStatusError: the server does not answer it.
    """
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    post_s: list[float] = []
    door = server.door
    async with httpx.AsyncClient(
        base_url=door.url, headers=dict(door.headers), timeout=180, trust_env=False
    ) as http:
        spent_s = 0.0
        for number in tqdm(range(WARM_UP + calls), desc=clip.name, unit="call"):
            before_s, sent_s = time.process_time(), time.perf_counter()
            form = {door.part: ("clip", clip.body, "application/octet-stream")}
            response = (await http.post(door.path, files=form)).raise_for_status()
            took_s = time.perf_counter() - sent_s
            if number < WARM_UP:
                continue
            spent_s += time.process_time() - before_s
            post_s.append(took_s)
            answer = response.json()
            for name in STAGES:
                stages[name].append(answer["timings"][f"{name}_ms"] / 1000)
    return Alone(int(answer["features"]["count"]), stages, post_s, spent_s / calls)


@dataclass(frozen=True)
class Growth:
    """How costs grow, measured in this process.

    Attributes:
        features: of one thread, by windows; seconds of one core.
        features_all_s: of a clip's windows on all threads, by the clock.
        windows: of that clip.
        threads: all of them.
        reason: by requests.
        slowdown: of a core, while all others are busy.
    """

    features: Law
    features_all_s: float
    windows: int
    threads: int
    reason: Law
    slowdown: float

    @property
    def parallel_loss(self) -> float:
        """Overhead of the encoder in all threads, relative to one."""
        alone_s = self.features.of(self.windows) * self.slowdown
        return max(1.0, self.features_all_s * self.threads / alone_s)


def measure_growth(predictor: Predictor, pool: DecodePool, clip: Path, *, rounds: int) -> Growth:
    """Returns how costs grow with batch size and with busy cores, one process of the pool each."""
    encoder, threads = predictor.encoder, torch.get_num_threads()
    decoded = pool.decode(clip, encoder.contract)
    slowdown = _slowdown(pool, lambda: pool.decode(clip, encoder.contract), rounds)
    windows = stack_windows(decoded.frames, encoder.contract, decoded.num_frames)
    features = encoder.encode(torch.as_tensor(windows))
    track = track_from(features, decoded.num_frames, encoder, "clip")
    request = PredictRequest(track, frozenset(predictor.tasks))

    def encode(count: int) -> Callable[[], object]:
        pixels = made_up_windows(encoder.contract, count)
        return lambda: encoder.encode(pixels)

    all_s = _median_s(encode(len(windows)), rounds, clock=time.perf_counter)
    torch.set_num_threads(1)
    try:
        features_s = [_median_s(encode(count), rounds) for count in BATCHES]
        reason_s = [
            _median_s(lambda n=count: predictor.predict([request] * n), rounds)  # type: ignore[misc]
            for count in REQUESTS
        ]
    finally:
        torch.set_num_threads(threads)
    return Growth(
        features=fit(BATCHES, features_s),
        features_all_s=all_s,
        windows=len(windows),
        threads=threads,
        reason=fit(REQUESTS, reason_s),
        slowdown=slowdown,
    )


def fit(sizes: Sequence[int], seconds: Sequence[float]) -> Law:
    """Returns the line closest to the times, in parts of each; neither coefficient is negative."""
    x, y = np.asarray(sizes, float), np.asarray(seconds, float)
    each_s, fixed_s = np.polyfit(x, y, 1, w=1 / y)
    if fixed_s < 0:
        return Law(0.0, float(np.mean(y / x)))
    if each_s < 0:
        return Law(float(np.mean(y)), 0.0)
    return Law(float(fixed_s), float(each_s))


def stages_of(alone: dict[str, Alone], growth: Growth) -> Stages:
    """Returns the parameters of the simulation: a server's times, and laws fitted to them.

    Calls alone are by kind; the growth is that of the same code in another process.
    """
    clips = {}
    for name, one in alone.items():
        inside_s = sum(one.mean_s(stage) for stage in STAGES[:-1])
        clips[name] = ClipCost(
            windows=one.windows,
            decode_s=tuple(one.stages["decode"]),
            receive_s=max(0.0, one.mean_s("total") - inside_s),
            reply_s=max(0.0, statistics.fmean(one.post_s) - one.mean_s("total") - one.caller_s),
            caller_s=one.caller_s,
        )
    expected = {name: _all_threads_s(growth, one.windows) for name, one in alone.items()}
    ratios = [
        took_s / expected[name] for name, one in alone.items() for took_s in one.stages["features"]
    ]
    level = statistics.fmean(ratios)
    reason_s = statistics.fmean(s for one in alone.values() for s in one.stages["reason"])
    return Stages(
        clips=clips,
        features=_scaled(growth.features, level),
        reason=_scaled(growth.reason, reason_s / growth.reason.of(1)),
        features_scatter=tuple(ratio / level for ratio in ratios),
        parallel_loss=growth.parallel_loss,
        refuse_s=min(cost.reply_s for cost in clips.values()),
        slowdown=growth.slowdown,
    )


def _all_threads_s(growth: Growth, windows: int) -> float:
    """Wall-clock time of the encoder without any decoder running."""
    threads = min(growth.threads, windows)
    return growth.features.of(windows) * growth.parallel_loss * growth.slowdown / threads


def _scaled(law: Law, factor: float) -> Law:
    return Law(law.fixed_s * factor, law.each_s * factor)


def _slowdown(pool: DecodePool, decode: Callable[[], DecodedClip], rounds: int) -> float:
    """Core time of decoding with all cores busy, relative to alone."""

    def spent_s(at_once: int) -> float:
        before = {pid: cpu_s(pid) for pid in pool.pids}
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(lambda _: decode(), range(at_once * rounds)))
        total_s = sum(cpu_s(pid) - s for pid, s in before.items())
        return total_s / (at_once * rounds)

    for _ in range(2):  # every process has to have decoded something
        spent_s(pool.workers)
    return max(1.0, spent_s(pool.workers) / spent_s(1))


def _median_s(
    call: Callable[[], Any], rounds: int, clock: Callable[[], float] = time.process_time
) -> float:
    taken = []
    for number in range(rounds + 1):
        started_s = clock()
        call()
        if number:
            taken.append(clock() - started_s)
    return statistics.median(taken)
