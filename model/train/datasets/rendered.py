"""Command `python -m model.train render`: a generated world straight to features, without videos.

A frame is drawn, resized and encoded in one process, and is never a file: what a codec would change
is missing from it. Annotations are those of the same world with videos, so every command reads it.
"""

import argparse
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from extract.contract import FeatureContract, crop_offset, resized_size
from extract.cpu import usable_cores
from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import encoder_from_spec
from extract.errors import ExtractError
from extract.features.extractor import TrackBuilder
from extract.features.store import FeatureStore
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.windows import wanted_frames
from model.errors import ModelError, SettingInvalid
from model.train.datasets.prepared import progress_bar
from tabletop.drawing.canvas import shrink, use_one_thread
from tabletop.errors import TabletopError
from tabletop.files.world import claim_world, finish_world, in_processes, make_renderer
from tabletop.story.script import Script, WorldConfig
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle
from weights.errors import WeightsError
from weights.storage.folders import Place, as_place

WORLD, FEATURES = "world", "features"
"""Folders under --out."""

_BLOCK = 64  # frames drawn before they are handed on


class RenderOptions(argparse.Namespace):
    """Flags of `python -m model.train render`."""

    out: Path
    bundle: Place
    train_videos: int
    val_videos: int
    test_videos: int
    seed: int
    jobs: int


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when the folder or the bundle cannot be used."""
    options = _parse(argv)
    try:
        contract = _encoder(options.bundle, None).contract
        config = WorldConfig(
            seed=options.seed,
            train_videos=options.train_videos,
            val_videos=options.val_videos,
            test_videos=options.test_videos,
            width=2 * contract.crop_width,  # drawn twice as large and averaged, as a camera would
            height=2 * contract.crop_height,
        )
        with progress_bar("render") as progress:
            render_world(options.out, config, options.bundle, jobs=options.jobs, progress=progress)
    except (ExtractError, ModelError, TabletopError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"--data {options.out / WORLD} --features {options.out / FEATURES}")
    return 0


def render_world(
    out: Path,
    config: WorldConfig,
    bundle: Place,
    *,
    jobs: int,
    progress: Callable[[int, int], None],
) -> None:
    """Writes a world's annotations and features, or what is missing of them, under a folder.

    Args:
        out: folder for `world` and `features`.
        config: of the world.
        bundle: folder or URL of the bundle that has the encoder. It runs in ONNX Runtime where the
            bundle has its graph, on one thread, so features do not depend on `jobs`.
        jobs: processes that draw and encode; at least 1.
        progress: called with (videos done, videos in all) after each video.

    Raises:
        SettingInvalid: the bundle has no encoder, or one of another frame rate than the world.
        WorldMismatch: the folder holds a world of another config.
        FeatureFileInvalid: a stored track is damaged.
    """
    fingerprint = _checked(bundle, config).fingerprint
    scripts = claim_world(out / WORLD, config)
    store = FeatureStore(out / FEATURES)
    missing = [script for script in scripts if not _is_stored(store, script, fingerprint)]
    done = len(scripts) - len(missing)
    progress(done, len(scripts))
    calls = [(out / FEATURES, script, config, bundle, fingerprint) for script in missing]
    for _ in in_processes(_write_track, calls, jobs):
        done += 1
        progress(done, len(scripts))
    store.sweep([script.video_uid for script in scripts])
    finish_world(out / WORLD, scripts, config)


def _checked(bundle: Place, config: WorldConfig) -> VideoEncoder:
    encoder = _encoder(bundle, None)
    if encoder.contract.fps != config.fps:
        raise SettingInvalid(
            f"--bundle {bundle}: its encoder takes {encoder.contract.fps} frames a second, the "
            f"world has {config.fps}"
        )
    return encoder


@lru_cache(maxsize=1)
def _encoder(bundle: Place, fingerprint: str | None) -> VideoEncoder:
    """Loads a bundle's encoder; kept by a process for its further videos."""
    loaded = load_bundle(bundle)
    if not loaded.encoder:
        raise SettingInvalid(f"--bundle {bundle}: expected a bundle with an encoder, it has none")
    encoder = encoder_from_spec(loaded.manifest.encoder, loaded.encoder)
    if fingerprint not in (None, encoder.fingerprint):
        raise SettingInvalid(f"--bundle {bundle}: changed while it was in use")
    return OnnxEncoder(encoder, loaded.encoder_onnx) if loaded.encoder_onnx else encoder


def _is_stored(store: FeatureStore, script: Script, fingerprint: str) -> bool:
    if not store.has(script.video_uid):
        return False
    rows = store.read_rows(script.video_uid)
    return rows.encoder.fingerprint == fingerprint and rows.num_frames == script.num_frames


def _write_track(
    features: Path, script: Script, config: WorldConfig, bundle: Place, fingerprint: str
) -> None:
    """Draws and encodes one video, on one thread."""
    threads = torch.get_num_threads()
    use_one_thread()
    torch.set_num_threads(1)
    try:
        encoder = _encoder(bundle, fingerprint)
        builder = TrackBuilder(encoder)
        builder.expect(script.num_frames)
        renderer = make_renderer(script, config)
        wanted = np.flatnonzero(wanted_frames(script.num_frames, encoder.contract))
        for part in np.array_split(wanted, -(-len(wanted) // _BLOCK)):
            drawn = (renderer.frame(i) for i in part.tolist())
            builder.append(np.stack([_as_read(image, encoder.contract) for image in drawn]))
        FeatureStore(features).write(builder.finish(video_id=script.video_uid))
    finally:
        torch.set_num_threads(threads)


def _as_read(image: NDArray[np.uint8], contract: FeatureContract) -> NDArray[np.uint8]:
    """Returns a drawn frame, (H, W, 3), in the size that readers of videos hand on.

    Where the contract does not resize to bytes, frames stay whole: preprocessing does it.
    """
    if contract.resize != "decoder":
        return image
    width, height = resized_size(image.shape[1], image.shape[0], contract)
    x, y = crop_offset(width, height, contract)
    return shrink(image, width, height)[y : y + contract.crop_height, x : x + contract.crop_width]


def _parse(argv: list[str]) -> RenderOptions:
    parser = argparse.ArgumentParser(
        prog="python -m model.train render",
        description="Writes a generated world as annotations in Ego4D's layout and features of a "
        "bundle's encoder, without video files: frames are drawn and encoded side by side, on all "
        "cores. Rerun it after an interruption: videos with features are kept.",
    )
    default = WorldConfig()
    # fmt: off
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for world/ and features/")
    add("--bundle", type=as_place, default=SHIPPED_BUNDLE,
        help="bundle whose encoder makes the features (default: the shipped one)")
    for split in ("train", "val", "test"):
        add(f"--{split}-videos", type=int, default=default.videos_of(split),
            help=f"{split} videos, of 26 to 30 actions each (default: %(default)s)")
    add("--seed", type=int, default=0,
        help="of the world's random generators (default: %(default)s)")
    add("--jobs", type=int, default=usable_cores(),
        help="processes that draw and encode (default: one per core)")
    # fmt: on
    options = parser.parse_args(argv, RenderOptions())
    for name in ("train_videos", "val_videos", "test_videos", "jobs"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            parser.error(f"--{flag}: expected at least 1, got {getattr(options, name)}")
    return options
