"""A labelled contact sheet: one row per verb, frames around the key moment."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np

from tabletop.drawing.canvas import enlarge, save_picture, write_text
from tabletop.files.world import ANNOTATION_FOLDER, VIDEO_FOLDER

_FRAMES = 4
_EXAMPLES = 2  # actions per row
_TILE_W, _TILE_H, _LABEL_H = 128, 96, 18
_MOMENTS_S = (-1.2, -0.3, 0.3, 1.2)  # around the middle of the window


def write_sheet(root: Path, path: Path) -> None:
    """Writes a picture for checking labels against frames by eye.

    Args:
        root: a finished world.
        path: JPEG or PNG to write.

    Raises:
        FileNotFoundError: `root` holds no finished world.
    """
    folder = root / ANNOTATION_FOLDER
    taxonomy = json.loads((folder / "fho_lta_taxonomy.json").read_text())
    entries = json.loads((folder / "fho_lta_train.json").read_text())["clips"]
    rows = [_row(root, _choose(entries, verb)) for verb in taxonomy["verbs"]]
    save_picture(np.vstack([row for row in rows if row is not None]), path, quality=66)


def _choose(entries: list[dict[str, Any]], verb: str) -> list[dict[str, Any]]:
    """Returns examples of a verb with different nouns, from different videos if possible."""
    chosen: list[dict[str, Any]] = []
    for entry in entries:
        fresh = all(entry["noun"] != c["noun"] and entry["video_uid"] != c["video_uid"]
                    for c in chosen)  # fmt: skip
        if entry["verb"] == verb and fresh and len(chosen) < _EXAMPLES:
            chosen.append(entry)
    return chosen


def _row(root: Path, entries: list[dict[str, Any]]) -> np.ndarray | None:
    if not entries:
        return None
    row = np.full((_TILE_H + _LABEL_H, _EXAMPLES * _FRAMES * _TILE_W, 3), 244, np.uint8)
    for i, entry in enumerate(entries):
        x = i * _FRAMES * _TILE_W
        for j, tile in enumerate(_tiles(root, entry)):
            row[:_TILE_H, x + j * _TILE_W : x + (j + 1) * _TILE_W] = tile
        label = f"{entry['verb']} {entry['noun']}"
        write_text(row, label, x + 4, _TILE_H + _LABEL_H - 5, size=0.42)
    return row


def _tiles(root: Path, entry: dict[str, Any]) -> list[np.ndarray]:
    first = entry["clip_parent_start_frame"]
    middle = first + (entry["action_clip_start_frame"] + entry["action_clip_end_frame"]) / 2
    tiles: list[np.ndarray] = []
    with av.open(str(root / VIDEO_FOLDER / f"{entry['video_uid']}.mp4")) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or 30)
        times = [middle / fps + moment for moment in _MOMENTS_S]
        container.seek(int(times[0] * 1e6))
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= times[len(tiles)] - 0.5 / fps:
                tiles.append(enlarge(frame.to_ndarray(format="rgb24"), _TILE_W, _TILE_H))
                if len(tiles) == len(times):
                    break
    return tiles
