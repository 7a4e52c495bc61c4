"""Sample clip of a held-out video with its labels, for demonstrations.

It is cut around the first action of the first test video that changes a state, follows another and
has the full number of actions after it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from tabletop.files.annotations import Entry, annotate_actions
from tabletop.files.world import VIDEO_FOLDER, encode_video
from tabletop.story.script import Action, Script, WorldConfig, write_script

FUTURE = 20


def write_sample(root: Path, config: WorldConfig, folder: Path) -> None:
    """Writes `clip.mp4` and `truth.json` from a world that lies under `root`.

    Args:
        root: a finished world.
        config: its config.
        folder: where the two files go.

    Raises:
        FileNotFoundError: the world has no such video.
    """
    script = write_script(config, "test", 0)
    entries = annotate_actions(script, config)
    place, action = _choose(script)
    before, window = (_frames(entries[p]) for p in (place - 1, place))
    first, after = min(before[0], window[0]), max(before[1], window[1])
    folder.mkdir(parents=True, exist_ok=True)
    video = root / VIDEO_FOLDER / f"{script.video_uid}.mp4"
    encode_video(folder / "clip.mp4", _read(video, first, after), config)
    truth = {
        "source": f"tabletop, seed {config.seed}, test video 0, frames {first} to {after}",
        "segment": _seconds(window, first, config.fps),
        "segments": [_seconds(w, first, config.fps) for w in (before, window)],
        "ar": {"verb": action.verb, "noun": action.noun},
        "oscc": {"state_change": action.changes_state},
        "pnr": {"time_s": round((action.key - first) / config.fps, 3)},
        "lta": [
            {"verb": a.verb, "noun": a.noun} for a in script.actions[place + 1 : place + 1 + FUTURE]
        ],
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def _choose(script: Script) -> tuple[int, Action]:
    candidates = script.actions[: len(script.actions) - FUTURE]
    return next((p, a) for p, a in enumerate(candidates) if p and a.changes_state)


def _frames(entry: Entry) -> tuple[int, int]:
    """The window's first frame and the one after its last, counted in the video."""
    start = entry["clip_parent_start_frame"]
    return start + entry["action_clip_start_frame"], start + entry["action_clip_end_frame"]


def _seconds(window: tuple[int, int], first: int, fps: int) -> list[float]:
    return [round((frame - first) / fps, 3) for frame in window]


def _read(video: Path, first: int, after: int) -> Iterator[np.ndarray]:
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= after:
                return
            if number >= first:
                yield frame.to_ndarray(format="rgb24")
