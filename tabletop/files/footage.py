"""Pretraining data of the small encoder: many short scenes with label maps.

It is to tabletop what ImageNet and Kinetics are to Ego4D: other recordings, with many more
appearances and no video of any split. Appearances and orders are those of the training split, so
val and test stay unseen. Frames are drawn into arrays, without a video file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tabletop.drawing.canvas import use_one_thread
from tabletop.files.world import Progress, in_processes, make_renderer, replacing
from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import Script, WorldConfig, write_script


@dataclass(frozen=True)
class FootageConfig:
    """Configuration of the footage.

    Attributes:
        world: scenes are its training videos, from first to last action; frames have its size.
        frame_step: every n-th frame is kept.
        map_every: kept frames per label map.
        map_size: height and width of a label map.
    """

    world: WorldConfig
    frame_step: int
    map_every: int
    map_size: tuple[int, int]


@dataclass(frozen=True)
class TrimmedAction:
    """An action of a scene, from the begin to the end of its motion, in kept frames.

    Attributes:
        video_uid: of its scene.
        start_frame: first kept frame.
        end_frame: kept frame after the last one.
        verb: class id.
        noun: class id.
    """

    video_uid: str
    start_frame: int
    end_frame: int
    verb: int
    noun: int


class Footage:
    """Scenes on disk: frames, label maps and trimmed actions."""

    def __init__(self, folder: Path, config: FootageConfig) -> None:
        """Writes the scripts of the scenes; `write` draws them."""
        self._folder, self._config = folder, config
        world = config.world
        self._scripts = [write_script(world, "train", i) for i in range(world.train_videos)]
        self.scenes: Sequence[str] = [script.video_uid for script in self._scripts]
        self.actions: Sequence[TrimmedAction] = [
            record for script in self._scripts for record in _actions(script, config.frame_step)
        ]

    def write(self, *, workers: int, progress: Progress) -> None:
        """Draws missing scenes; an interrupted scene is drawn again.

        Args:
            workers: processes that draw.
            progress: called with (scenes done, scenes in all).
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        calls = [
            (self._folder, script, self._config)
            for script in self._scripts
            if not (self._folder / f"{script.video_uid}.maps.npy").is_file()
        ]
        done = len(self._scripts) - len(calls)
        for _ in in_processes(_write_scene, calls, workers):
            done += 1
            progress(done, len(self._scripts))

    def frames(self, scene: str) -> NDArray[np.uint8]:
        """Returns a scene's kept frames, (n, H, W, 3), mapped from disk."""
        return _open(self._folder / f"{scene}.frames.npy")

    def label_maps(self, scene: str) -> NDArray[np.uint8]:
        """Returns its maps, (n / map_every, h, w); see `Renderer.labels`."""
        return _open(self._folder / f"{scene}.maps.npy")


def _actions(script: Script, frame_step: int) -> list[TrimmedAction]:
    return [
        TrimmedAction(
            video_uid=script.video_uid,
            start_frame=(action.start - script.interval_start) // frame_step,
            end_frame=(action.end - script.interval_start) // frame_step,
            verb=VERBS.index(action.verb),
            noun=NOUNS.index(action.noun),
        )
        for action in script.actions
    ]


def _write_scene(folder: Path, script: Script, config: FootageConfig) -> None:
    use_one_thread()
    world, step = config.world, config.frame_step
    renderer = make_renderer(script, world.scaled(2))
    token = step * config.map_every
    count = (script.interval_end - script.interval_start) // token
    first = script.interval_start
    kept = range(first, first + count * token, step)
    height, width = config.map_size
    middles = range(first + token // 2, first + count * token, token)
    # Drawn twice as large and averaged, as a camera would.
    _save(folder / f"{script.video_uid}.frames.npy", [_halved(renderer.frame(i)) for i in kept])
    maps = [renderer.labels(i, width, height) for i in middles]
    _save(folder / f"{script.video_uid}.maps.npy", maps)  # last: marks the scene as complete


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = image[::2].astype(np.uint16) + image[1::2]
    mean: NDArray[np.uint8] = ((rows[:, ::2] + rows[:, 1::2]) // 4).astype(np.uint8)
    return mean


def _save(path: Path, images: list[NDArray[np.uint8]]) -> None:
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, np.stack(images))


def _open(path: Path) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return array
