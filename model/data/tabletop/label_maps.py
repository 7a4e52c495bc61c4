"""What is where in the training videos: the maps that the small encoder learns to see by.

They are drawn from the scripts, by the code that draws the frames, so they need no video.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.tabletop.brush import use_one_thread
from model.data.tabletop.script import Script, WorldConfig, write_script
from model.data.tabletop.write import Progress, in_processes, make_renderer


def write_label_maps(
    folder: Path,
    config: WorldConfig,
    *,
    every: int,
    size: tuple[int, int],
    workers: int,
    progress: Progress,
) -> None:
    """Writes one array per training video, (n, *size) uint8, or what is still missing.

    Entry i is `Renderer.labels` at the middle of frames i * every .. (i + 1) * every - 1.

    Args:
        folder: where; made if need be.
        config: the world.
        every: frames that one map stands for.
        size: height and width of a map.
        workers: processes that draw.
        progress: called with (videos done, videos in all).
    """
    folder.mkdir(parents=True, exist_ok=True)
    scripts = [write_script(config, "train", i) for i in range(config.train_videos)]
    calls = [
        (path, script, config, every, size)
        for script in scripts
        if not (path := folder / f"{script.video_uid}.npy").is_file()
    ]
    done = len(scripts) - len(calls)
    for _ in in_processes(_write_one, calls, workers):
        done += 1
        progress(done, len(scripts))


def read_label_map(folder: Path, video: str) -> NDArray[np.uint8]:
    """Returns a video's maps, mapped from disk."""
    maps: NDArray[np.uint8] = np.load(folder / f"{video}.npy", mmap_mode="r")
    return maps


def _write_one(
    path: Path, script: Script, config: WorldConfig, every: int, size: tuple[int, int]
) -> None:
    use_one_thread()
    renderer = make_renderer(script, config)
    middles = range(every // 2, script.num_frames, every)
    height, width = size
    maps = np.stack([renderer.labels(middle, width, height) for middle in middles])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, maps)
    part.replace(path)
