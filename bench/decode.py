"""Our readers beside bare decoding of the same file, one thread each.

What a reader does on top: it looks at the packets, resizes, crops, and hands frames on in blocks.
The floor decodes every frame and looks at none: the ffmpeg program where there is one, else PyAV.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from bench.duel import duel, times_faster
from bench.made_up import write_video
from extract.clip import TRUSTED
from extract.contract import TABLETOP, FeatureContract
from extract.video import decode_into

GOAL = 0.85
SIZES = {"1080p": (1920, 1080), "540p": (960, 540)}
CONTRACTS = {
    96: TABLETOP,
    224: replace(TABLETOP, short_side=224, crop_height=224, crop_width=224),
}
READERS: tuple[Literal["decord", "pyav"], ...] = ("decord", "pyav")
_LIMITS = replace(TRUSTED, max_decord_mb=2**20)


class _Drop:
    """A sink that keeps a sum, so that readers can be compared, and no frame."""

    def __init__(self) -> None:
        self.total, self.count = 0, 0

    def expect(self, num_frames: int) -> None:
        pass

    def append(self, block: np.ndarray) -> None:
        self.total += int(block[:, ::16, ::16].sum())
        self.count += len(block)

    def restart(self) -> None:
        self.total = self.count = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip; %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the readers' pixels, then measures.

    Raises:
        ArithmeticError: the readers disagree.
    """
    name, floor = _floor()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, (width, height) in SIZES.items():
            path = write_video(
                Path(folder) / f"{size}.mp4", width, height, seconds=arguments.seconds
            )
            rows[size] = _row(path, floor, arguments.rounds, size)
    return {"floor": name, "seconds": arguments.seconds, "rows": rows, "goal": GOAL}


def _row(path: Path, floor: Callable[[Path], None], rounds: int, size: str) -> dict[str, Any]:
    ways: dict[str, Callable[[], Any]] = {"floor": partial(floor, path)}
    for side, contract in CONTRACTS.items():
        sums = {reader: _read(path, contract, reader) for reader in READERS}
        if len(set(sums.values())) != 1:
            raise ArithmeticError(f"expected the same pixels from all readers, got {sums}")
        for reader in READERS:
            ways[f"{reader} {side}"] = partial(_read, path, contract, reader)
    times = duel(ways, rounds=rounds, label=size)
    ratios = {way: times_faster(times, way, "floor", threads=1) for way in ways if way != "floor"}
    return {"times": times, "ratio": ratios}


def _read(
    path: Path, contract: FeatureContract, reader: Literal["decord", "pyav"]
) -> tuple[int, int]:
    sink = _Drop()
    decode_into(path, contract, _LIMITS, sink, reader)
    return sink.total, sink.count


def _floor() -> tuple[str, Callable[[Path], None]]:
    if shutil.which("ffmpeg"):
        return "ffmpeg -threads 1 -f null", _by_program
    return "PyAV, decoding alone", _by_pyav


def _by_pyav(path: Path) -> None:
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in source.decode(stream):
            pass


def _by_program(path: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]
    subprocess.run(command, check=True)


def table(figures: dict[str, Any]) -> str:
    """Returns the figures to read."""
    lines = [f"{'speed of bare decoding = 1':<28}" + "".join(f"{s:>10}" for s in figures["rows"])]
    of_size = [row["ratio"] for row in figures["rows"].values()]
    lines += [f"{way:<28}" + "".join(f"{r[way]:>10.2f}" for r in of_size) for way in of_size[0]]
    floor = [row["times"]["floor"]["cpu_ms"] for row in figures["rows"].values()]
    frames = figures["seconds"] * 30
    lines.append(
        f"{'bare, frames/s':<28}" + "".join(f"{1000 * frames / ms:>10.0f}" for ms in floor)
    )
    return "\n".join([*lines, f"bare decoding: {figures['floor']}; goal >= {figures['goal']}"])
