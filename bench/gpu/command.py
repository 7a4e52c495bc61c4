"""GPU benchmark of the video trunk, and of all around it, from matrix products to clips per second.

Parts, in order: the peak of matrix products, windows a second by batch size and precision,
reasoning, whole clips with decoding, where the time goes, what each step gains; then precisions'
cosines, ONNX Runtime, search, extraction with many decoders, the server with many callers, a
training step. Every part has its time and writes what it found at once, with the summary so far, so
that a run that is cut keeps it. Rows not measured say why.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from bench.gpu.around import AROUND
from bench.gpu.parts import PARTS, Bench
from bench.gpu.timing import NOT_MEASURED, Clock, measured

GOALS = {"share_of_peak": 0.5, "times_plain": 20.0}

ALL = PARTS | AROUND

NO_DEVICE = 3
"""Exit status where there is no GPU to measure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--budget-s", type=float, default=60.0, help="of each of the twelve parts")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=list(ALL),
        metavar="PART",
        default=list(ALL),
        help="only these: " + "; ".join(ALL),
    )
    parser.add_argument("--tiny", action="store_true", help="a small trunk")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="every row once, small, on a CPU, in a minute: tries the code out",
    )
    parser.add_argument("--clip", type=Path, default=Path("clients/sample/clip.mp4"))


def rehearsal(arguments: argparse.Namespace) -> None:
    """Makes the flags those of a run that only tries the code out."""
    arguments.device, arguments.tiny, arguments.batches = "cpu", True, [1, 2]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures part by part; `figures["parts"]` has what there was time for.

    Raises:
        SystemExit: with `NO_DEVICE`, where there is no such device.
    """
    if arguments.rehearse:
        rehearsal(arguments)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured (--rehearse tries the code out)",
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
    for name in arguments.parts:
        # A rehearsal makes each call once.
        clock = Clock(device, arguments.budget_s, calls=1 if arguments.rehearse else None)
        parts[name] = {}
        for row, value in measured(ALL[name](bench, clock), clock):
            parts[name][row] = value
            summarise(figures)
            _save(arguments.out, figures)
        print(f"{name}: {clock.spent_s():.0f} s", file=sys.stderr)
    return figures


def _save(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps({"name": "gpu", "figures": figures}, indent=1) + "\n")
        os.replace(part, path)


def summarise(figures: dict[str, Any]) -> None:
    """Adds the share of peak and the speed-up over torchvision, if measured."""
    parts = figures["parts"]
    peaks = {k.split()[0]: v for k, v in parts.get("peak, TFLOP/s", {}).items()}
    rates = {k: v for k, v in parts.get("windows/s", {}).items() if k.startswith("bf16")}
    gained = {k: v for k, v in parts.get("steps, windows/s", {}).items() if isinstance(v, float)}
    bf16 = [v for v in [*rates.values(), *list(gained.values())[3:]] if isinstance(v, float)]
    figures["best_bf16_windows_per_s"] = best = max(bf16, default=NOT_MEASURED)
    both = isinstance(best, float) and isinstance(peaks.get("bf16"), float)
    figures["share_of_peak"] = (
        round(best * figures["gflop_per_window"] / 1000 / peaks["bf16"], 3)
        if both else NOT_MEASURED
    )  # fmt: skip
    plain = gained.get("torchvision, fp32, batch 1")
    figures["times_plain"] = (
        round(best / plain, 2) if plain and isinstance(best, float) else NOT_MEASURED
    )


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{figures['trunk']} on {figures['device']}, torch {figures['torch']}, "
             f"{figures['gflop_per_window']} GFLOP a window"]  # fmt: skip
    for part, rows in figures["parts"].items():
        lines.append(part)
        for name, value in rows.items():
            if isinstance(value, dict):
                lines.append(f"  {name}")
                lines += [f"    {stage:<34}{ms:>12}" for stage, ms in value.items()]
            else:
                lines.append(f"  {name:<36}{value:>12}")
    goals = figures["goals"]
    return "\n".join([
        *lines,
        f"share of the bf16 peak: {figures['share_of_peak']} (goal >= {goals['share_of_peak']})",
        f"times the plain way: {figures['times_plain']} (goal >= {goals['times_plain']:.0f})",
    ])  # fmt: skip
