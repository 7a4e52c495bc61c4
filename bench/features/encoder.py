"""Encoder benchmark: each runtime against torchvision's trunk in eager mode, frames to features.

The same weights and uint8 windows, with normalisation. Before timing, features are compared; then
the server's own choice of runtime is made, as at a first start.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.duel import duel, times_faster
from bench.features.trunk import torchvisions_copy
from extract.encoders.load import encoder_from_spec
from extract.encoders.preprocess import to_network_input
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.choose import Runtime, choose_encoder
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import greatest_difference, made_up_windows
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle

GOAL = 1.5
TOLERANCE = 1e-5
WAYS = ("torchvision", "torch", "onnx")

Encode = Callable[[Tensor], Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE, help="default: the shipped")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 14], help="windows; 14 are an 8 s clip"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="one table each")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the features, then measures.

    Raises:
        ArithmeticError: two runtimes disagree.
        ValueError: the bundle's encoder has no graph, or is no video Swin.
    """
    with torch.inference_mode(False):  # weights as a server has them
        bundle = load_bundle(arguments.bundle)
        encoder = encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
    ways = make_ways(encoder, bundle.encoder_onnx)
    rows: dict[str, dict[str, Any]] = {}
    choices: dict[str, dict[str, str]] = {}
    before = torch.get_num_threads()
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        _, choice = choose_encoder(encoder, bundle.encoder_onnx, Runtime("auto"))
        choices[str(threads)] = {"name": choice.name, "reason": choice.reason}
        for batch in arguments.batches:
            windows = made_up_windows(encoder.contract, batch)
            row = _row(ways, windows, choice.name, arguments.rounds, threads)
            rows[f"{threads} threads, batch {batch}"] = row
    torch.set_num_threads(before)
    return {"encoder": encoder.name, "rows": rows, "auto": choices, "goal": GOAL}


def make_ways(encoder: TorchEncoder, graph: bytes) -> dict[str, Encode]:
    """Returns what each way makes of uint8 windows.

    Raises:
        ValueError: the encoder has no graph, or is no video Swin.
    """
    if not graph or not isinstance(encoder.config, SwinConfig):
        raise ValueError(f"expected a video Swin with an ONNX graph, got {encoder.name!r}")
    theirs = torchvisions_copy(encoder)

    def torchvisions(windows: Tensor) -> Tensor:
        features: Tensor = theirs(to_network_input(windows, encoder.contract))
        return features

    onnx = OnnxEncoder(encoder, graph)
    return dict(zip(WAYS, (torchvisions, encoder.encode, onnx.encode), strict=True))


def compare(ways: dict[str, Encode], windows: Tensor) -> float:
    """Returns the greatest difference between torchvision's features and any other way's.

    Raises:
        ArithmeticError: it is not small.
    """
    expected = ways["torchvision"](windows)
    difference = max(greatest_difference(expected, encode(windows)) for encode in ways.values())
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"expected the same features, they differ by {difference:.1e}")
    return difference


def _row(
    ways: dict[str, Encode], windows: Tensor, chosen: str, rounds: int, threads: int
) -> dict[str, Any]:
    difference = compare(ways, windows)
    label = f"{threads} threads, {len(windows)} windows"
    calls = {way: partial(encode, windows) for way, encode in ways.items()}
    times = duel(calls, rounds=rounds, label=label)
    return {
        "greatest_difference": float(f"{difference:.2g}"),
        "times": times,
        "by": "cpu_ms" if threads == 1 else "wall_ms",
        "chosen": chosen,
        "over_torchvision": times_faster(times, chosen, "torchvision", threads=threads),
        "over_torch": times_faster(times, chosen, "torch", threads=threads),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{'medians, ms':<24}{''.join(f'{way:>13}' for way in WAYS)}   auto's choice is"]
    for name, row in figures["rows"].items():
        cells = "".join(f"{row['times'][way][row['by']]:>13.1f}" for way in WAYS)
        gains = f"{row['over_torchvision']:.2f} x torchvision, {row['over_torch']:.2f} x torch"
        lines.append(f"{name:<24}{cells}   {gains}")
    for threads, choice in figures["auto"].items():
        lines.append(f"auto, {threads} threads: {choice['name']}; {choice['reason']}")
    greatest = max(row["greatest_difference"] for row in figures["rows"].values())
    lines.append(
        f"greatest difference: {greatest:.1e}; goal >= {figures['goal']} x torchvision; "
        "one thread by its CPU time, more by the clock; GPU: not measured"
    )
    return "\n".join(lines)
