"""Decoding benchmark: our readers against bare decoding of the same file, one thread each.

Readers also inspect packets, convert to RGB, resize, crop, and pass on frames in blocks, for the
contracts in use. The floor decodes every frame and drops it: the ffmpeg program if there is one,
else PyAV. Also measured: whole frames as PyAV converts them, to be resized elsewhere.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import numpy as np

from bench.duel import duel, times_faster
from bench.videos import write_video
from extract.contract import OMNIVORE, SLOWFAST, TABLETOP, FeatureContract
from extract.decode.clip import TRUSTED, ReaderChoice
from extract.decode.orientation import UPRIGHT
from extract.decode.pyav.frames import BytePictures, Shown
from extract.decode.resize import Resizer, taps_of
from extract.decode.video import decode_into
from extract.windows import wanted_frames

GOAL = 0.85
SIZES = {"1080p": (1920, 1080), "540p": (960, 540)}
READERS: dict[str, tuple[FeatureContract, tuple[ReaderChoice, ...]]] = {
    "tabletop": (TABLETOP, ("pyav", "decord")),
    "omnivore": (OMNIVORE, ("pyav",)),
    "slowfast": (SLOWFAST, ("pyav",)),
}
"""Contract -> itself, and who may read it."""

WHOLE = "whole frames, RGB"
_LIMITS = replace(TRUSTED, max_decord_mb=2**20)


class _Drop:
    """A sink that keeps a checksum, so that readers can be compared, and no frame."""

    def __init__(self) -> None:
        self.checksum, self.count = 0, 0

    def expect(self, num_frames: int) -> None:
        pass

    def append(self, block: np.ndarray) -> None:
        self.checksum = crc32(block[:, ::16, ::16].tobytes(), self.checksum)
        self.count += len(block)

    def restart(self) -> None:
        self.checksum = self.count = 0


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
    of_contracts = {name: contract.frame_bytes for name, (contract, _) in READERS.items()}
    return {
        "floor": name,
        "seconds": arguments.seconds,
        "rows": rows,
        "frame_bytes": of_contracts | {f"whole, {s}": 3 * w * h for s, (w, h) in SIZES.items()},
        "goal": GOAL,
    }


def _row(path: Path, floor: Callable[[Path], None], rounds: int, size: str) -> dict[str, Any]:
    ways: dict[str, Callable[[], Any]] = {"floor": partial(floor, path)}
    for name, (contract, readers) in READERS.items():
        found = {"plainly": _plainly(path, contract)}
        found |= {reader: _read(path, contract, reader) for reader in readers}
        if len(set(found.values())) != 1:
            raise ArithmeticError(f"expected the same pixels from all readers, got {found}")
        ways |= {f"{one}, {name}": partial(_read, path, contract, one) for one in readers}
    ways[WHOLE] = partial(_hand_on_whole_frames, path)
    times = duel(ways, rounds=rounds, label=size)
    ratios = {way: times_faster(times, way, "floor", threads=1) for way in ways if way != "floor"}
    return {"times": times, "ratio": ratios}


def _read(path: Path, contract: FeatureContract, reader: ReaderChoice) -> tuple[int, int]:
    sink = _Drop()
    decode_into(path, contract, _LIMITS, sink, reader)
    return sink.checksum, sink.count


def _plainly(path: Path, contract: FeatureContract) -> tuple[int, int]:
    """Every frame decoded, converted and resized as a whole; then the wanted ones picked."""
    frames = [_resized(frame, contract) for frame in _frames(path)]
    sink = _Drop()
    for place in np.flatnonzero(wanted_frames(len(frames), contract)):
        sink.append(frames[place][None])
    return sink.checksum, sink.count


def _resized(frame: av.VideoFrame, contract: FeatureContract) -> np.ndarray:
    width, height = frame.width, frame.height
    if contract.resize == "decoder":
        return (
            BytePictures(contract)
            .picture(frame, Shown(width, height, width, height, UPRIGHT))
            .copy()
        )
    picture = frame.to_ndarray(format="rgba", src_colorspace="ITU601")
    return Resizer(*taps_of(width, height, contract))(picture)


def _hand_on_whole_frames(path: Path) -> None:
    for frame in _frames(path):
        frame.to_ndarray(format="rgb24", src_colorspace="ITU601")


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from source.decode(stream)


def _floor() -> tuple[str, Callable[[Path], None]]:
    if shutil.which("ffmpeg"):
        return "ffmpeg -threads 1 -f null", _by_program
    return "PyAV, decoding alone", _by_pyav


def _by_pyav(path: Path) -> None:
    for _ in _frames(path):
        pass


def _by_program(path: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]
    subprocess.run(command, check=True)


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{'speed of bare decoding = 1':<28}" + "".join(f"{s:>10}" for s in figures["rows"])]
    of_size = [row["ratio"] for row in figures["rows"].values()]
    lines += [f"{way:<28}" + "".join(f"{r[way]:>10.2f}" for r in of_size) for way in of_size[0]]
    floor = [row["times"]["floor"]["cpu_ms"] for row in figures["rows"].values()]
    frames = figures["seconds"] * 30
    lines.append(
        f"{'bare, frames/s':<28}" + "".join(f"{1000 * frames / ms:>10.0f}" for ms in floor)
    )
    held = (f"{name} {size / 1e6:.2f}" for name, size in figures["frame_bytes"].items())
    lines.append(f"MB a frame: {', '.join(held)}")
    return "\n".join([*lines, f"bare decoding: {figures['floor']}; goal >= {figures['goal']}"])
