"""A minute of video to features: ours beside the plain way, and what memory a long video takes.

The plain way does one window after the other: it opens the file, seeks, decodes the window's own
frames, and runs torchvision's trunk on it, fp32 and alone. Before anything is timed, the features
are compared. Memory is that of `python -m extract` with its children, on a minute and on an hour.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from bench.made_up import repeat_video, write_video
from extract.cores import divide_cores
from extract.dataset import Outcome, extract_videos
from extract.decord_reader import load_decord
from extract.geometry import crop_offset, resized_size
from extract.loading import encoder_from_spec
from extract.manifest import Video
from extract.pixels import to_network_input
from extract.swin import SwinConfig
from extract.torch_encoder import TorchEncoder
from extract.track import FeatureTrack
from weights.bundle import load_bundle

BUNDLE = Path(__file__).parents[1] / "weights" / "tabletop"
GOAL = 3.0
MEMORY_GOAL = 1.2
TOLERANCE = 1e-4
_SAMPLE_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="default: the shipped one")
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
    trunk, cores = torchvisions_trunk(encoder), torch.get_num_threads()
    taken: dict[str, list[float]] = {"ours": [], "plain": []}
    difference = 0.0
    for _ in range(rounds):
        started = time.perf_counter()
        track = ours(path, encoder)
        taken["ours"].append(time.perf_counter() - started)
        torch.set_num_threads(cores)
        started = time.perf_counter()
        features = plain(path, encoder, trunk, track.num_frames)
        taken["plain"].append(time.perf_counter() - started)
        scale = float(features.abs().max())
        difference = max(difference, float((features - track.features).abs().max()) / scale)
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"expected the same features, they differ by {difference:.1e}")
    seconds = {way: round(min(values), 2) for way, values in taken.items()}
    return {
        "cores": cores,
        "windows": len(track.features),
        "least_seconds": seconds,
        "ratio": round(seconds["plain"] / seconds["ours"], 2),
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
    raise ArithmeticError("the clip that was made up cannot be extracted")


@torch.inference_mode()
def plain(path: Path, encoder: TorchEncoder, trunk: nn.Module, num_frames: int) -> Tensor:
    """Returns features, (L, D_in), window by window: nothing is kept from one to the next."""
    contract, decord = encoder.contract, load_decord()
    size = partial(resized_size, contract=contract)
    features = []
    last = num_frames - contract.window_frames
    starts = list(range(0, last + 1, contract.stride_frames))
    for start in starts if starts[-1] == last else [*starts, last]:
        full = decord.VideoReader(str(path), num_threads=0)
        height, width = full[0].shape[:2]
        new_width, new_height = size(width, height)
        reader = decord.VideoReader(str(path), width=new_width, height=new_height, num_threads=0)
        frames = range(start, start + contract.window_frames, contract.frame_step)
        x, y = crop_offset(new_width, new_height, contract)
        window = torch.from_numpy(reader.get_batch(list(frames)).asnumpy())
        window = window[:, y : y + contract.crop_height, x : x + contract.crop_width]
        features.append(trunk(to_network_input(window[None], contract)))
    return torch.cat(features)


def torchvisions_trunk(encoder: TorchEncoder) -> nn.Module:
    """Returns torchvision's own class with the encoder's weights."""
    config = encoder.config
    assert isinstance(config, SwinConfig)
    trunk = SwinTransformer3d(
        patch_size=list(config.patch),
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=list(config.window),
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    )
    trunk.head = nn.Identity()
    trunk.load_state_dict(encoder.state_dict())
    return trunk.eval()


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
        peak = max(peak, sum(map(_pss_mb, _family(process.pid))))
        time.sleep(_SAMPLE_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _family(pid: int) -> list[int]:
    family = [pid]
    for member in family:
        try:
            children = Path(f"/proc/{member}/task/{member}/children").read_text()
        except OSError:
            continue
        family += map(int, children.split())
    return family


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def table(figures: dict[str, Any]) -> str:
    """Returns the figures to read."""
    speed, memory = figures["speed"], figures["memory"]
    seconds = speed["least_seconds"]
    lines = [
        f"{figures['seconds']:g} s of video, {speed['windows']} windows, {speed['cores']} cores",
        f"  ours       {seconds['ours']:>8.2f} s",
        f"  plain way  {seconds['plain']:>8.2f} s   {speed['ratio']:.2f} x, "
        f"goal >= {speed['goal']:g} x; greatest difference {speed['greatest_difference']:.1e}",
    ]
    if memory:
        peaks = memory["peak_mb"]
        lines.append(
            f"peak memory: {peaks['short']:.0f} MB for {memory['minutes']['short']} minute, "
            f"{peaks['long']:.0f} MB for {memory['minutes']['long']}: {memory['ratio']:.2f}, "
            f"goal <= {memory['goal']}"
        )
    return "\n".join([*lines, "GPU: not measured"])
