"""GPU benchmark of the video trunk, from matrix products to clips per second.

Parts, in order: the peak of matrix products, windows a second by batch size and precision, what
each step gains, where the time goes, whole clips with decoding, reasoning. Every part has its time
and writes what it found at once, so that a run that is cut keeps it. Parts not measured are marked.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.gpu_ends import clips_per_second, reasoning_ms
from bench.gpu_report import GOALS, summarise, table
from bench.gpu_timing import NOT_MEASURED, Clock, measured
from bench.trunk import make_pair, swin_flops
from extract.contract import OMNIVORE, FeatureContract
from extract.encoders.swin.trunk import OMNIVORE_SWINL, SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.compiled import FixedBatches, prepare
from extract.runtime.frame_batches import SharedFrames
from extract.runtime.precision import PRECISIONS, in_precision
from extract.windows import cut_windows

__all__ = ["add_arguments", "run", "table"]

NO_DEVICE = 3
"""Exit status where there is no GPU to measure."""

TINY = SwinConfig((2, 8, 8), 12, (2, 2), (1, 2), (4, 3, 4))
TINY_CONTRACT = FeatureContract(window_frames=8, stride_frames=4, short_side=52, crop_height=48,
                                crop_width=64)  # fmt: skip
STAGES = {
    "linear layers": ("mm", "gemm", "linear"),
    "attention": ("attention", "fmha", "softmax"),
    "norms and GELU": ("norm", "gelu"),
    "moving": ("index", "copy", "cat", "pad", "memcpy", "memset"),
    "patch embedding": ("conv",),
}
"""Parts of a kernel's or an operator's name -> the stage it belongs to; the first that fits."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--budget-s", type=float, default=85.0, help="of each of the six parts")
    parser.add_argument("--tiny", action="store_true", help="a small trunk: tries the code out")
    parser.add_argument("--clip", type=Path, default=Path("clients/sample/clip.mp4"))


class Bench:
    """What the parts share.

    Attributes:
        plain: torchvision's trunk in fp32.
        encoder: ours in fp32, with the same weights.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(arguments.device)
        self.tiny: bool = arguments.tiny
        self.batches = sorted(arguments.batches)
        self.clip: Path = arguments.clip
        self.config = TINY if self.tiny else OMNIVORE_SWINL
        self.contract = TINY_CONTRACT if self.tiny else OMNIVORE
        with torch.no_grad():
            pair = make_pair(self.config)
        self.plain = pair["torchvision"].to(self.device)
        self.encoder = TorchEncoder("bench", self.config, self.contract, pair["ours"])
        self.encoder.to(self.device)
        shape = (self.contract.window_frames, self.contract.crop_height, self.contract.crop_width)
        self.flops = swin_flops(self.config, shape)
        self.precisions = [p for p in PRECISIONS if p != "fp16" or self.device.type == "cuda"]

    def pixels(self, windows: int, precision: str = "fp32") -> Tensor:
        """Returns (B, 3, T, H, W) on the device."""
        shape = (self.contract.window_frames, self.contract.crop_height, self.contract.crop_width)
        return torch.randn(windows, 3, *shape, device=self.device, dtype=PRECISIONS[precision])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures part by part; `figures["parts"]` has what there was time for.

    Raises:
        SystemExit: with `NO_DEVICE`, where there is no such device.
    """
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured (--device cpu --tiny tries the code out)",
              file=sys.stderr)  # fmt: skip
        raise SystemExit(NO_DEVICE)
    parts: dict[str, Any] = {}
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "trunk": "tiny" if arguments.tiny else "Omnivore Swin-L, random weights",
        "goals": GOALS,
        "parts": parts,
    }
    bench = Bench(arguments)
    figures["gflop_per_window"] = round(bench.flops / 1e9, 1)
    for name, part in PARTS.items():
        clock = Clock(device, arguments.budget_s)
        parts[name] = {}
        for row, value in measured(part(bench, clock), clock):
            parts[name][row] = value
            _save(arguments.out, figures)
        print(f"{name}: {clock.spent_s():.0f} s", file=sys.stderr)
    summarise(figures)
    return figures


def _save(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps({"name": "gpu", "figures": figures}, indent=1) + "\n")
        os.replace(part, path)


Rows = Iterator[tuple[str, Callable[[], Any]]]
"""A row's name, and the call that measures it; the call is not made when time is up."""


def peak(bench: Bench, clock: Clock) -> Rows:
    """Products of square matrices, TFLOP/s."""
    size = 256 if bench.tiny else 8192

    def product(dtype: torch.dtype) -> float:
        left, right = (torch.randn(size, size, device=bench.device).to(dtype) for _ in "ab")
        return round(2 * size**3 / clock.seconds(lambda: left @ right) / 1e12, 3)

    for name in bench.precisions:
        yield f"{name} {size}^3", partial(product, PRECISIONS[name])


def throughput(bench: Bench, clock: Clock) -> Rows:
    """Windows a second, run eagerly."""
    held: dict[str, TorchEncoder] = {}

    def row(precision: str, batch: int) -> float:
        if precision not in held:
            held.clear()  # one copy of the weights at a time
            held[precision] = in_precision(bench.encoder, precision)
        pixels = bench.pixels(batch, precision)
        return rate(clock, held[precision].trunk, pixels)

    for precision in reversed(bench.precisions):
        for batch in bench.batches:
            yield f"{precision}, batch {batch}", partial(row, precision, batch)


def rate(clock: Clock, run: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    """Returns windows a second."""
    with torch.inference_mode():
        return round(len(pixels) / clock.seconds(lambda: run(pixels)), 2)


def steps(bench: Bench, clock: Clock) -> Rows:
    """Windows per second after each step, from torchvision's to ours."""
    batch = bench.batches[-2] if len(bench.batches) > 1 else bench.batches[0]

    def ready(way: Any) -> float | str:
        encoder = prepare(bench.encoder, precision="bf16", execution=way, batch_sizes=(batch,))
        run = encoder.run
        if isinstance(run, FixedBatches) and run.fallback is not None:
            return f"{NOT_MEASURED}: {run.fallback}"
        return rate(clock, run, bench.pixels(batch, "bf16"))

    yield "torchvision, fp32, batch 1", lambda: rate(clock, bench.plain, bench.pixels(1))
    yield "ours, fp32, batch 1", lambda: rate(clock, bench.encoder.trunk, bench.pixels(1))
    yield (
        f"ours, fp32, batch {batch}",
        lambda: rate(clock, bench.encoder.trunk, bench.pixels(batch)),
    )
    yield f"bf16, batch {batch}", partial(ready, "eager")
    yield "uint8 windows, bf16", partial(_from_frames, bench, clock, batch, shared=False)
    yield "uint8 frames, each once, bf16", partial(_from_frames, bench, clock, batch, shared=True)
    if bench.device.type == "cuda":
        yield f"CUDA graph, batch {batch}", partial(ready, "graph")
    yield f"compiled, batch {batch}", partial(ready, "compiled")
    if bench.device.type == "cuda":
        yield f"compiled, CUDA graph, batch {batch}", partial(ready, "compiled-graph")


def _from_frames(bench: Bench, clock: Clock, batch: int, *, shared: bool) -> float:
    """Windows a second from frames in the host's memory, 4:3, larger than the crop."""
    encoder, contract = in_precision(bench.encoder, "bf16"), bench.contract
    length, stride = contract.window_frames, contract.stride_frames
    size = (480, 640) if not bench.tiny else (60, 80)
    frames = np.random.default_rng(0).integers(
        0, 256, (length + 2 * batch * stride, *size, 3), dtype=np.uint8
    )
    starts = cut_windows(len(frames), contract)[: 2 * batch]
    windows = [[(n, frames[n]) for n in range(s, s + length, contract.frame_step)] for s in starts]

    def call() -> None:
        encode_shared = SharedFrames(encoder)
        for first in range(0, len(windows), batch):
            some = windows[first : first + batch]
            if shared:
                encode_shared(some)
            else:
                encoder.encode(torch.from_numpy(np.stack([[f for _, f in w] for w in some])))

    return round(len(windows) / clock.seconds(call, most=20), 2)


def stages(bench: Bench, clock: Clock) -> Rows:
    """Milliseconds a window in each stage of the trunk, bf16, as the profiler attributes them."""
    batch = bench.batches[-2] if len(bench.batches) > 1 else bench.batches[0]
    on_gpu = bench.device.type == "cuda"

    def row() -> dict[str, float]:
        encoder, pixels = in_precision(bench.encoder, "bf16"), bench.pixels(batch, "bf16")
        activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
        spent = dict.fromkeys([*STAGES, "rest"], 0.0)
        with torch.inference_mode():
            encoder.trunk(pixels)
            with profile(activities=activities) as recorded:
                encoder.trunk(pixels)
                clock.wait()
        for event in recorded.key_averages():
            us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            spent[stage_of(event.key)] += us / 1000 / batch
        return {stage: round(ms, 3) for stage, ms in spent.items()}

    yield f"bf16, batch {batch}, ms a window", row


def stage_of(kernel: str) -> str:
    """Returns which of `STAGES` a kernel or operator belongs to, or "rest"."""
    name = kernel.lower()
    # Some convolutions and attentions are named after the product in them.
    for stage in ("patch embedding", "attention", "norms and GELU", "moving", "linear layers"):
        if any(part in name for part in STAGES[stage]):
            return stage
    return "rest"


def ends(bench: Bench, clock: Clock) -> Rows:
    """Clips a second from file to features."""
    yield (
        "clip to features, bf16, clips/s",
        lambda: clips_per_second(
            in_precision(bench.encoder, "bf16"), bench.clip, clock, bench.batches[-1]
        ),
    )


def reason(bench: Bench, clock: Clock) -> Rows:
    """Graphs of all four tasks to logits."""
    for graphs in (1, 16):
        yield (
            f"reasoning, batch {graphs}, ms",
            partial(reasoning_ms, bench.device, graphs, clock, tiny=bench.tiny),
        )


PARTS: dict[str, Callable[[Bench, Clock], Rows]] = {
    "peak, TFLOP/s": peak,
    "windows/s": throughput,
    "reasoning": reason,
    "ends": ends,
    "stages": stages,
    "steps, windows/s": steps,
}
