"""Parts of the GPU benchmark around the trunk: other runtimes, search, decoders, server, training.

Each needs packages that a bare machine may lack; its row then says which.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from bench.gpu.parts import Bench, Rows, rate
from bench.gpu.timing import Clock
from extract.runtime.precision import in_precision

DECODERS = 16
CONCURRENCY = 64
QUERIES = 64
NEIGHBOURS = 8


def agreement(bench: Bench, clock: Clock) -> Rows:
    """Least cosine of a feature with fp32's, eager: what a precision costs."""
    windows = bench.batches[0]

    def row(precision: str) -> float:
        pixels = bench.pixels(windows)
        other = in_precision(bench.encoder, precision)
        with torch.inference_mode():
            expected = bench.encoder.encode_pixels(pixels)
            found = other.encode_pixels(pixels)
        return round(float(F.cosine_similarity(found, expected).min()), 7)

    for precision in bench.precisions:
        if precision != "fp32":
            yield f"{precision}, batch {windows}", partial(row, precision)


def onnx(bench: Bench, clock: Clock) -> Rows:
    """Windows a second of ONNX Runtime, fp32, beside torch's fp32 in the same part."""
    held: dict[str, Any] = {}

    def row(batch: int) -> float:
        from extract.runtime.onnx_encoder import OnnxEncoder
        from extract.runtime.onnx_export import export_encoder

        if "run" not in held:
            graph = export_encoder(bench.encoder)
            held["run"] = OnnxEncoder(bench.encoder, graph, provider=bench.device.type)
        frames = torch.rand(batch, *bench.shape, 3, device=bench.device)
        seconds = clock.seconds(lambda: held["run"].encode(frames), most=20)
        return round(batch / seconds, 2)

    def beside(batch: int) -> float:
        return rate(clock, bench.encoder.trunk, bench.pixels(batch))

    for batch in bench.batches:
        yield f"ONNX Runtime, batch {batch}", partial(row, batch)
        yield f"torch, batch {batch}", partial(beside, batch)


def search(bench: Bench, clock: Clock) -> Rows:
    """Milliseconds to find 64 queries' neighbours among P prototypes of 1024 numbers."""
    from model.nn.knn import SearchName, build_index  # FAISS may be missing, to be said by a row

    width = 32 if bench.tiny else 1024
    sizes = (300, 2000) if bench.tiny else (4_000, 100_000, 1_000_000)
    faiss: SearchName = "faiss-gpu" if bench.device.type == "cuda" else "faiss"

    def row(name: SearchName, rows: int) -> float:
        generator = torch.Generator(bench.device).manual_seed(0)
        made = partial(torch.randn, device=bench.device, generator=generator)
        queries = made(QUERIES, width)
        index = build_index(made(rows, width), name)
        return round(1000 * clock.seconds(lambda: index.search(queries, NEIGHBOURS)), 3)

    for rows in sizes:
        for name in ("torch", faiss):
            yield f"{name}, {rows} prototypes", partial(row, name, rows)


def extraction(bench: Bench, clock: Clock) -> Rows:
    """Windows a second from files to features, with many decoding processes."""
    decoders = 2 if bench.tiny else DECODERS

    def row(reader: Any, precision: str) -> float:
        from extract.dataset.pipeline import ExtractionPipeline, Outcome
        from extract.dataset.video_lists import Video

        encoder = in_precision(bench.encoder, precision)
        videos = [Video(str(number), bench.clip) for number in range(2 * decoders)]
        pipeline = ExtractionPipeline(
            encoder, decoders, batch_windows=bench.batches[-1], reader=reader
        )
        try:
            for _ in pipeline.extract(videos[:decoders]):  # starts the processes
                pass
            started = time.perf_counter()
            done = [news for news in pipeline.extract(videos) if isinstance(news, Outcome)]
            seconds = time.perf_counter() - started
        finally:
            pipeline.close()
        failed = [news for news in done if news.track is None]
        if failed:
            raise RuntimeError(str(failed[0].error))
        return round(sum(len(news.track.features) for news in done if news.track) / seconds, 2)

    yield f"{decoders} decoders, bf16", partial(row, "auto", "bf16")
    if bench.device.type == "cuda":
        yield f"{decoders} decoders, NVDEC, bf16", partial(row, "nvdec", "bf16")


def server(bench: Bench, clock: Clock) -> Rows:
    """Clips a second over HTTP with many callers, and the p99 of an answer; the shipped bundle."""
    callers, seconds = (2, 1.0) if bench.tiny else (CONCURRENCY, 15.0)

    def row() -> dict[str, float]:
        from bench.load.callers import Door
        from bench.load.clips import STANDARD, LoadClip
        from bench.load.general import Plan, measure
        from bench.load.target import Target
        from clients.local import LocalServer

        clip = LoadClip(STANDARD, bench.clip.read_bytes())
        flags = (f"--device={bench.device.type}", "--max-caller-share=1",
                 f"--max-requests={2 * callers}")  # fmt: skip
        with LocalServer(*flags) as started:
            plan = Plan([clip], concurrency=callers, duration_s=seconds)
            target = Target(Door(started.url), started.pid)
            found = asyncio.run(measure(target, plan, asyncio.Event()))
        if found["answer_ms"] is None:
            raise RuntimeError(f"no clip was answered: {found['outcomes']}")
        return {"clips/s": found["answers_per_s"], "p99, ms": found["answer_ms"]["p99"]}

    yield f"concurrency {callers}", row


def training(bench: Bench, clock: Clock) -> Rows:
    """Milliseconds of a training step of all four tasks, 16 graphs each, Ego4D v1's sizes."""

    def row() -> float:
        from bench.authors.training import make_samples, our_steps
        from model.train.fit import FitJob
        from model.train.presets import AUTHORS

        width, hidden, videos = (8, 16, 2) if bench.tiny else (1536, 1024, 10)
        config = replace(AUTHORS.model, input_size=width, hidden_size=hidden, norm="node")
        fit = replace(AUTHORS.multitask, epochs=1, batch_size=16)
        count = 16 * (4 if bench.tiny else 40)
        few = {
            task: samples.take(torch.arange(len(samples))[:count])
            for task, samples in make_samples(videos, width).items()
        }
        job = FitJob(fit, seed=0, device=str(bench.device), progress=False)
        wall = sorted(wall_s for _, wall_s in our_steps(few, config, job)[1:])
        return round(1000 * wall[len(wall) // 2], 2)

    yield "step, ms", row


AROUND: dict[str, Callable[[Bench, Clock], Rows]] = {
    "agreement, least cosine": agreement,
    "ONNX Runtime, windows/s": onnx,
    "search, ms": search,
    "extraction, windows/s": extraction,
    "server": server,
    "training": training,
}
