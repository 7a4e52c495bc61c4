"""A world on disk: H.264 videos, Ego4D v1 annotations, the hidden labels of the test split.

Writing may be interrupted at any point; the next run keeps what is complete.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tabletop.drawing.appearance import draw_looks
from tabletop.drawing.canvas import to_yuv, use_one_thread
from tabletop.drawing.renderer import Renderer
from tabletop.errors import WorldMismatch
from tabletop.files.annotations import (
    Entry,
    annotate_actions,
    annotate_changes,
    hide_action,
    hide_change,
)
from tabletop.files.statistics import describe
from tabletop.motion.scene import Scene
from tabletop.story.recipes import SPLITS
from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import WORLD_VERSION, Script, WorldConfig, rng_of, write_script

VIDEO_FOLDER = Path("v1", "full_scale")
ANNOTATION_FOLDER = Path("v1", "annotations")
HIDDEN_FOLDER = Path("hidden")
WORLD_FILE = "world.json"

_CODEC_OPTIONS = {
    "preset": "superfast",
    "crf": "25",
    "bf": "0",  # no reordering, so that the first time is zero without an edit list
    "g": "60",
    "threads": "1",
}
_BT601 = 6  # SMPTE 170M, in the numbering of H.273

Progress = Callable[[int, int], None]


def write_world(
    root: Path, config: WorldConfig, *, workers: int, progress: Progress | None = None
) -> None:
    """Writes a world under `root`, or what is missing of it.

    Args:
        root: folder to write in; created if missing.
        config: of the world.
        workers: rendering processes; at least 1.
        progress: called with (videos done, videos in all) after each video.

    Raises:
        WorldMismatch: `root` holds a world of another config, or a video that is not of this one.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    scripts = claim_world(root, config)
    folder = root / VIDEO_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in scripts if not _is_finished(folder / f"{s.video_uid}.mp4", config)]
    done = len(scripts) - len(missing)
    if progress is not None:
        progress(done, len(scripts))
    calls = [(folder / f"{script.video_uid}.mp4", script, config) for script in missing]
    for _ in in_processes(write_video, calls, workers):
        done += 1
        if progress is not None:
            progress(done, len(scripts))
    for leftover in folder.glob(".*.partial"):  # of a run that was killed
        leftover.unlink()
    finish_world(root, scripts, config)


def claim_world(root: Path, config: WorldConfig) -> list[Script]:
    """Makes a folder that of a world, and returns the world's scripts, split by split.

    Raises:
        WorldMismatch: `root` holds a world of another config.
    """
    if (root / WORLD_FILE).exists():
        there = read_config(root)
        if there != config:
            raise WorldMismatch(
                f"{root} holds another world ({there.to_dict()}); expected {config.to_dict()}: "
                "choose another folder"
            )
    else:
        root.mkdir(parents=True, exist_ok=True)
        _write_json(root / WORLD_FILE, _identity(config))
    return [write_script(config, s, i) for s in SPLITS for i in range(config.videos_of(s))]


def finish_world(root: Path, scripts: list[Script], config: WorldConfig) -> None:
    """Writes the annotations of all splits, and the statistics into the world's file."""
    _write_annotations(root, scripts, config)
    _write_json(root / WORLD_FILE, {**_identity(config), "statistics": describe(scripts, config)})


def read_config(root: Path) -> WorldConfig:
    """Returns the config of the world in a folder.

    Raises:
        WorldMismatch: it holds no world, or one of another version of the generator.
    """
    path = root / WORLD_FILE
    if not path.is_file():
        raise WorldMismatch(f"{root}: no generated world, there is no {WORLD_FILE}")
    there = json.loads(path.read_text())
    if there.get("version") != WORLD_VERSION:
        raise WorldMismatch(
            f"{path}: a world of version {there.get('version')}, expected {WORLD_VERSION}: "
            "write it again in another folder"
        )
    return WorldConfig.from_dict(there["config"])


def fingerprint(config: WorldConfig) -> str:
    """Returns a short hash of the config and the version of the generator."""
    text = json.dumps([WORLD_VERSION, config.to_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_renderer(script: Script, config: WorldConfig) -> Renderer:
    """Returns the renderer of a script; the same script and config give the same frames."""
    scene = Scene(script, rng_of(config, script.split, script.index, 2), fps=config.fps)
    looks = draw_looks(script.split, rng_of(config, script.split, script.index, 3))
    texture = rng_of(config, script.split, script.index, 4)
    return Renderer(scene, looks, texture, width=config.width, height=config.height)


def write_video(path: Path, script: Script, config: WorldConfig) -> None:
    """Renders one video; the file appears under its name only when it is complete."""
    use_one_thread()
    renderer = make_renderer(script, config)
    with replacing(path) as partial:
        encode_video(partial, (renderer.frame(i) for i in range(script.num_frames)), config)


def encode_video(path: Path, frames: Iterator[np.ndarray], config: WorldConfig) -> None:
    """Writes (H, W, 3) RGB frames as the H.264 mp4 of a world of this config."""
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = fingerprint(config)
        stream = container.add_stream("libx264", rate=config.fps, options=_CODEC_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = config.width, config.height, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace = 1, _BT601
        context.color_primaries, context.color_trc = _BT601, _BT601
        context.time_base = Fraction(1, config.fps)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(to_yuv(image), format="yuv420p")
            frame.pts, frame.time_base = i, context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def in_processes(
    function: Callable[..., None], calls: list[tuple[Any, ...]], workers: int
) -> Iterator[None]:
    """Runs the calls in `workers` processes; yields after each.

    Raises:
        Exception: that of a call; calls that have not begun are dropped.
    """
    if workers == 1 or len(calls) <= 1:
        for call in calls:
            function(*call)
            yield
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(function, *call) for call in calls]
        try:
            for future in as_completed(pending):
                future.result()
                yield
        finally:
            for future in pending:
                future.cancel()


def _identity(config: WorldConfig) -> dict[str, Any]:
    return {
        "version": WORLD_VERSION,
        "fingerprint": fingerprint(config),
        "config": config.to_dict(),
    }


def _is_finished(path: Path, config: WorldConfig) -> bool:
    if not path.exists():
        return False
    try:
        with av.open(str(path)) as container:
            made_for = container.metadata.get("comment")
    except av.error.FFmpegError as error:
        raise WorldMismatch(f"{path} is not a video of this world: delete it") from error
    if made_for != fingerprint(config):
        raise WorldMismatch(
            f"{path} was made by another config: delete it or choose another folder"
        )
    return True


def _write_annotations(root: Path, scripts: list[Script], config: WorldConfig) -> None:
    folder, hidden = root / ANNOTATION_FOLDER, root / HIDDEN_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    hidden.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "fho_lta_taxonomy.json", {"verbs": list(VERBS), "nouns": list(NOUNS)})
    for split in SPLITS:
        mine = [script for script in scripts if script.split == split]
        actions = [entry for script in mine for entry in annotate_actions(script, config)]
        changes = [entry for script in mine for entry in annotate_changes(script, config)]
        truth = hidden if split == "test" else folder
        _write_json(truth / f"fho_lta_{split}.json", _wrap(split, actions))
        _write_json(truth / f"fho_oscc-pnr_{split}.json", _wrap(split, changes))
        if split == "test":
            split = "test_unannotated"
            actions = [hide_action(entry) for entry in actions]
            changes = [hide_change(entry) for entry in changes]
            _write_json(folder / f"fho_lta_{split}.json", _wrap(split, actions))
            _write_json(folder / f"fho_oscc-pnr_{split}.json", _wrap(split, changes))
    _write_json(root / "v1" / "ego4d.json", {"videos": [_video(s, config) for s in scripts]})


def _wrap(split: str, entries: list[Entry]) -> Entry:
    return {
        "version": "1",
        "date": "260101",
        "description": "tabletop: a generated world in Ego4D's layout",
        "split": split,
        "clips": entries,
    }


def _video(script: Script, config: WorldConfig) -> Entry:
    seconds = script.num_frames / config.fps
    return {
        "video_uid": script.video_uid,
        "duration_sec": seconds,
        "scenarios": ["tabletop"],
        "is_stereo": False,
        "split_fho": script.split,
        "video_metadata": {
            "fps": float(config.fps),
            "num_frames": script.num_frames,
            "width": config.width,
            "height": config.height,
            "video_start_sec": 0.0,
            "video_duration_sec": seconds,
            "mp4_duration_sec": seconds,
        },
    }


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which it replaces when the block ends."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
