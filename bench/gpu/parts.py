"""Parts of the GPU benchmark, each a few rows that are measured while its time lasts."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.features.trunk import make_pair, swin_flops
from bench.gpu.timing import NOT_MEASURED, Clock
from extract.contract import OMNIVORE, FeatureContract
from extract.encoders.swin.trunk import OMNIVORE_SWINL, SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.compiled import FixedBatches, prepare
from extract.runtime.frame_batches import SharedFrames
from extract.runtime.precision import PRECISIONS, in_precision
from extract.windows import cut_windows

TINY = SwinConfig((2, 8, 8), 12, (2, 2), (1, 2), (4, 3, 4))
TINY_CONTRACT = FeatureContract(window_frames=8, stride_frames=4, short_side=52, crop_height=48,
                                crop_width=64)  # fmt: skip
STAGES = {
    "attention": ("attention", "fmha", "softmax", "sdpa"),
    "linear layers": ("mm", "gemm", "linear", "nvjet"),
    "norms and GELU": ("norm", "gelu"),
    "moving": ("index", "gather", "copy", "cat", "pad", "memcpy", "memset"),
    "patch embedding": ("conv",),
}
"""Parts of a kernel's or an operator's name -> the stage it belongs to; the first that fits."""


class Bench:
    """What the parts share.

    Attributes:
        plain: torchvision's trunk in fp32.
        encoder: ours in fp32, with the same weights.
        batch: windows, where one size alone is measured.
        shape: of a window, (T, H, W).
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(arguments.device)
        self.tiny: bool = arguments.tiny
        self.batches = sorted(arguments.batches)
        self.batch = self.batches[-2:][0]
        self.clip: Path = arguments.clip
        self.config = TINY if self.tiny else OMNIVORE_SWINL
        self.contract = TINY_CONTRACT if self.tiny else OMNIVORE
        with torch.no_grad():
            pair = make_pair(self.config)
        self.plain = pair["torchvision"].to(self.device)
        self.encoder = TorchEncoder("bench", self.config, self.contract, pair["ours"])
        self.encoder.to(self.device)
        contract = self.contract
        self.shape = (contract.window_frames, contract.crop_height, contract.crop_width)
        self.flops = swin_flops(self.config, self.shape)
        on_gpu = self.device.type == "cuda"
        self.precisions = [p for p in PRECISIONS if on_gpu or p not in ("fp16", "fp8")]

    def pixels(self, windows: int, precision: str = "fp32") -> Tensor:
        """Returns (B, 3, T, H, W) on the device."""
        return torch.randn(windows, 3, *self.shape, device=self.device, dtype=PRECISIONS[precision])


Rows = Iterator[tuple[str, Callable[[], Any]]]
"""A row's name, and the call that measures it; the call is not made when time is up."""


def peak(bench: Bench, clock: Clock) -> Rows:
    """Products of square matrices, TFLOP/s."""
    size = 256 if bench.tiny else 8192

    def product(dtype: torch.dtype) -> float:
        left, right = (torch.randn(size, size, device=bench.device).to(dtype) for _ in "ab")
        return round(2 * size**3 / clock.seconds(lambda: left @ right) / 1e12, 3)

    for name in (p for p in bench.precisions if p != "fp8"):  # whose products have scales
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
    batch = bench.batch

    def ready(way: Any) -> float | str:
        encoder = prepare(bench.encoder, precision="bf16", execution=way, batch_sizes=(batch,))
        run = encoder.run
        if isinstance(run, FixedBatches) and run.fallback is not None:
            return f"{NOT_MEASURED}: {run.fallback}"
        if way == "kernels" and run is encoder.trunk:
            return f"{NOT_MEASURED}: the kernels do not run here, the log says why"
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
        yield f"bf16 in kernels, batch {batch}", partial(ready, "kernels")
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
    batch, on_gpu = bench.batch, bench.device.type == "cuda"

    def row() -> dict[str, float]:
        encoder, pixels = in_precision(bench.encoder, "bf16"), bench.pixels(batch, "bf16")
        activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
        spent = dict.fromkeys([*STAGES, "rest"], 0.0)
        with torch.inference_mode():
            encoder.trunk(pixels)
            with profile(activities=activities, acc_events=True) as recorded:
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
    """Clips a second from file to features, decoded in this process."""

    def row() -> float:
        from extract.features.extractor import Extractor  # decoders may be missing

        encoder = in_precision(bench.encoder, "bf16")
        extractor = Extractor(encoder, batch_windows=bench.batches[-1])
        return round(1 / clock.seconds(lambda: extractor.from_file(bench.clip), most=20), 3)

    yield "clip to features, bf16, clips/s", row


def reason(bench: Bench, clock: Clock) -> Rows:
    """Milliseconds from features to the logits of all four tasks, weights random."""
    for graphs in (1, 16):
        yield f"reasoning, batch {graphs}, ms", partial(_reasoning_ms, bench, clock, graphs)


def _reasoning_ms(bench: Bench, clock: Clock, graphs: int) -> float:
    from bench.authors.reasoning import make_contenders, make_inputs  # graph layers may be missing
    from model.train.presets import AUTHORS

    tiny, device = bench.tiny, bench.device
    config = replace(AUTHORS.model, input_size=8, hidden_size=16) if tiny else AUTHORS.model
    with torch.inference_mode():
        skills = make_contenders(config, 30 if tiny else 4000).ours.to(device)
        skills.backpacks = {n: b and b.to(device) for n, b in skills.backpacks.items()}
        inputs = {task: x.to(device) for task, x in make_inputs(config, graphs).items()}

        def call() -> None:
            for votes in skills(inputs).values():
                votes.fused()

        return round(1000 * clock.seconds(call), 3)


PARTS: dict[str, Callable[[Bench, Clock], Rows]] = {
    "peak, TFLOP/s": peak,
    "windows/s": throughput,
    "reasoning": reason,
    "ends": ends,
    "stages": stages,
    "steps, windows/s": steps,
}
