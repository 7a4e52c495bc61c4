"""Extraction benchmark: features of a minute of video against a naive loop, and peak memory.

The naive loop handles one window at a time: it opens the file, seeks, decodes the window's frames,
and runs torchvision's trunk on it in fp32. Before timing, the features are compared. Memory is that
of `python -m extract` with its children, on a minute and on an hour.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.filter import Graph
from torch import Tensor, nn

from bench.duel import now, since
from bench.features.trunk import torchvisions_copy
from bench.load.watch import process_tree
from bench.videos import repeat_video, write_video
from extract.contract import FeatureContract, crop_offset, resized_size
from extract.cpu import divide_cores
from extract.dataset.pipeline import Outcome, extract_videos
from extract.dataset.video_lists import Video
from extract.encoders.load import encoder_from_spec
from extract.encoders.preprocess import to_network_input
from extract.encoders.torch_encoder import TorchEncoder
from extract.features.track import FeatureTrack
from extract.windows import cut_windows
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle

GOAL = 3.0
MEMORY_GOAL = 1.2
TOLERANCE = 1e-4
_SAMPLE_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument(
        "--bundle", type=Path, default=SHIPPED_BUNDLE, help="default: the shipped one"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of video; %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--long-minutes", type=int, default=60, help="of the long video; 0 leaves memory out"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the features, then measures.

    Raises:
        ArithmeticError: the two ways disagree.
    """
    bundle = load_bundle(arguments.bundle)
    encoder = encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "a.mp4", 960, 540, seconds=arguments.seconds)
        speed = _speed(path, encoder, arguments.rounds)
        memory = None
        if arguments.long_minutes:
            memory = _memory(Path(folder), arguments.bundle, arguments.long_minutes)
    return {"seconds": arguments.seconds, "speed": speed, "memory": memory, "gpu": "not measured"}


def _speed(path: Path, encoder: TorchEncoder, rounds: int) -> dict[str, Any]:
    trunk, cores = torchvisions_copy(encoder), torch.get_num_threads()
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
    difference = 0.0
    for _ in range(rounds):
        started = now()
        track = ours(path, encoder)
        taken["ours"].append(since(started))
        torch.set_num_threads(cores)
        started = now()
        features = plain(path, encoder, trunk, track.num_frames)
        taken["plain"].append(since(started))
        scale = float(features.abs().max())
        difference = max(difference, float((features - track.features).abs().max()) / scale)
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"expected the same features, they differ by {difference:.1e}")
    cpu, wall = (
        {way: round(min(of[index] for of in values), 2) for way, values in taken.items()}
        for index in range(2)
    )
    return {
        "cores": cores,
        "windows": len(track.features),
        "least_wall_s": wall,
        "least_cpu_s": cpu,
        "ratio": round(wall["plain"] / wall["ours"], 2),
        "cpu_ratio": round(cpu["plain"] / cpu["ours"], 2),
        "goal": GOAL,
        "greatest_difference": float(f"{difference:.2g}"),
    }


def ours(path: Path, encoder: TorchEncoder) -> FeatureTrack:
    """Returns the track as `python -m extract` makes it, starting its process included."""
    workers, threads = divide_cores(1, None)
    torch.set_num_threads(threads)
    for news in extract_videos([Video("a", path)], encoder, workers=workers):
        if isinstance(news, Outcome) and news.track is not None:
            return news.track
    raise ArithmeticError("the generated clip cannot be extracted")


@torch.inference_mode()
def plain(path: Path, encoder: TorchEncoder, trunk: nn.Module, num_frames: int) -> Tensor:
    """Returns features, (L, D_in), window by window: nothing is kept from one to the next."""
    contract = encoder.contract
    features = []
    for start in cut_windows(num_frames, contract):
        frames = _decode_window(path, start, contract)[:: contract.frame_step]
        window = torch.from_numpy(np.stack(frames))
        features.append(trunk(to_network_input(window[None], contract)))
    return torch.cat(features)


def _decode_window(path: Path, start: int, contract: FeatureContract) -> list[np.ndarray]:
    """Opens the file, seeks to the key frame before a window, and decodes to the window's end."""
    frames = []
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        width, height = resized_size(stream.width, stream.height, contract)
        x, y = crop_offset(width, height, contract)
        scale = Graph()
        scale.link_nodes(
            scale.add_buffer(template=stream),
            scale.add("scale", w=str(width), h=str(height), flags="bicubic"),
            scale.add("format", pix_fmts="rgb24"),
            scale.add("buffersink"),
        ).configure()
        assert stream.time_base is not None
        source.seek(round(start / contract.fps / stream.time_base), stream=stream)
        for frame in source.decode(stream):
            if frame.time is None or round(frame.time * contract.fps) < start:
                continue
            scale.push(frame)
            picture = scale.vpull().to_ndarray()
            frames.append(picture[y : y + contract.crop_height, x : x + contract.crop_width])
            if len(frames) == contract.window_frames:
                break
    return frames


def _memory(folder: Path, bundle: Path, minutes: int) -> dict[str, Any]:
    seed = write_video(folder / "seed.mp4", 160, 120, seconds=10)
    peaks = {}
    for name, length in (("short", 1), ("long", minutes)):
        video = repeat_video(seed, folder / f"{name}.mp4", 6 * length)
        command = [sys.executable, "-m", "extract", video, "--out", folder / "features"]
        command += ["--encoder", bundle]
        peaks[name] = round(peak_mb([*map(str, command)]), 1)
    return {
        "minutes": {"short": 1, "long": minutes},
        "peak_mb": peaks,
        "ratio": round(peaks["long"] / peaks["short"], 3),
        "goal": MEMORY_GOAL,
    }


def peak_mb(command: list[str]) -> float:
    """Returns the most memory a command and its children took together, pages shared counted once.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(_pss_mb, process_tree(process.pid))))
        time.sleep(_SAMPLE_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    speed, memory = figures["speed"], figures["memory"]
    wall, cpu = speed["least_wall_s"], speed["least_cpu_s"]
    lines = [
        f"{figures['seconds']:g} s of video, {speed['windows']} windows, {speed['cores']} cores",
        f"{'':<12}{'clock':>10}{'processor':>11}",
        f"  {'ours':<10}{wall['ours']:>8.2f} s{cpu['ours']:>9.2f} s",
        f"  {'plain way':<10}{wall['plain']:>8.2f} s{cpu['plain']:>9.2f} s",
        f"  {speed['ratio']:.2f} x by the clock, goal >= {speed['goal']:g} x; "
        f"{speed['cpu_ratio']:.2f} x of the processor; "
        f"greatest difference {speed['greatest_difference']:.1e}",
    ]
    if memory:
        peaks = memory["peak_mb"]
        lines.append(
            f"peak memory: {peaks['short']:.0f} MB for {memory['minutes']['short']} minute, "
            f"{peaks['long']:.0f} MB for {memory['minutes']['long']}: {memory['ratio']:.2f}, "
            f"goal <= {memory['goal']}"
        )
    return "\n".join([*lines, "GPU: not measured"])
