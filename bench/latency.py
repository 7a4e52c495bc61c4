"""Latency benchmark: one caller's 8 s clip, its stages, and the overhead of the server.

Each POST is followed by the same calls in this process (decode in a worker, windows, encoder,
one pass through the model), so both see the same machine at the same time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.videos import make_clip
from clients.client import EgoPackClient
from clients.local import LocalServer, check_stopped
from clients.results.predictions import PredictionResult
from extract.decode.clip import Limits
from extract.features.extractor import track_from
from extract.sandbox.pool import DecodePool
from extract.windows import stack_windows
from model.predict.predictor import Predictor, PredictRequest
from server.settings.settings import Settings

WARM_UP = 3
STAGES = ("queue_ms", "decode_ms", "features_ms", "reason_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--clip", type=Path, help="clip to send; default: a generated one of 8 s")
    parser.add_argument("--requests", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--bundle", type=Path, help="default: the shipped one")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures, in milliseconds."""
    settings = Settings() if arguments.bundle is None else Settings(bundle=arguments.bundle)
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or make_clip(Path(folder) / "clip.mp4")
        return _measure(settings, clip, arguments.requests)


def _measure(settings: Settings, clip: Path, requests: int) -> dict[str, Any]:
    flags = ["--bundle", str(settings.bundle)]
    limits = Limits(max_duration_s=settings.max_duration_s, memory_mb=settings.decode_memory_mb)
    posted: list[float] = []
    called: list[float] = []
    results: list[PredictionResult] = []
    with (
        LocalServer(*flags) as server,
        EgoPackClient(server.url) as client,
        DecodePool(workers=settings.decode_workers, limits=limits, reader=settings.reader) as pool,
    ):
        predictor = Predictor.from_bundle(settings.bundle, device=settings.device)
        for index in range(WARM_UP + requests):
            result, post_ms = _timed(lambda: client.predict(clip))
            _, call_ms = _timed(lambda: _in_process(clip, pool, predictor))
            if index >= WARM_UP:
                results.append(result)
                posted.append(post_ms)
                called.append(call_ms)
    check_stopped(server)
    return _figures(clip, results, posted, called, server.start_s)


def _in_process(clip: Path, pool: DecodePool, predictor: Predictor) -> object:
    """What the server does for a request, without the server."""
    encoder = predictor.encoder
    decoded = pool.decode(clip, encoder.contract)
    windows = stack_windows(decoded.frames, encoder.contract, decoded.num_frames)
    features = encoder.encode(torch.as_tensor(windows))
    track = track_from(features, decoded.num_frames, encoder, "clip")
    return predictor.predict([PredictRequest(track, frozenset(predictor.tasks))])


def _figures(
    clip: Path,
    results: list[PredictionResult],
    posted: list[float],
    called: list[float],
    start_s: float,
) -> dict[str, Any]:
    stages = {
        name: statistics.fmean(getattr(result.timings, name) for result in results)
        for name in STAGES
    }
    sent = results[0].input
    assert sent is not None
    stages["receive and reply_ms"] = statistics.fmean(posted) - sum(stages.values())
    return {
        "clip": asdict(sent) | {"bytes": clip.stat().st_size},
        "bundle": f"{results[0].model.name} {results[0].model.version}",
        "requests": len(posted),
        "server_start_s": round(start_s, 2),
        "post_ms": _spread(posted),
        "stages_mean_ms": {name.removesuffix("_ms"): round(ms, 1) for name, ms in stages.items()},
        "in_process_ms": _spread(called),
        "post_over_in_process": round(statistics.median(posted) / statistics.median(called), 3),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    rows = [
        ("", "p50 ms", "p90 ms"),
        ("POST", f"{figures['post_ms']['p50']:.0f}", f"{figures['post_ms']['p90']:.0f}"),
        *((f"  {name}", f"{ms:.1f}", "") for name, ms in figures["stages_mean_ms"].items()),
        (
            "in one process",
            f"{figures['in_process_ms']['p50']:.0f}",
            f"{figures['in_process_ms']['p90']:.0f}",
        ),
        ("ratio of medians", f"{figures['post_over_in_process']:.3f}", ""),
    ]
    lines = [f"{name:<24}{one:>10}{two:>10}".rstrip() for name, one, two in rows]
    return "\n".join([*lines, "(stages are means)"])


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p90": round(ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))], 1),
        "min": round(ordered[0], 1),
    }


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started_s = time.perf_counter()
    value = call()
    return value, (time.perf_counter() - started_s) * 1000
