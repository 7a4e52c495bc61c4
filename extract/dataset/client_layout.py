"""Where the Ego4D client puts its files: facts of all videos in the root it fills, videos below it.

`ROOT/ego4d.json` and `ROOT/manifest.csv` are of one version, the last one fetched; its documents
name `ROOT/v1` as their place. Videos are in `ROOT/v1/full_scale` or `ROOT/v2/full_scale`; copies of
fewer pixels are in `video_540ss` instead.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

METADATA = "ego4d.json"
VERSIONS = ("v1", "v2")
FULL_VIDEOS = "full_scale"
VIDEO_SETS = (FULL_VIDEOS, "video_540ss")


def below_root(folder: Path) -> list[Path]:
    """Returns the folders whose sets of videos belong to an `ego4d.json` in a folder."""
    return [folder, *(folder / version for version in VERSIONS)]


def video_folders(places: Iterable[Path]) -> list[Path]:
    """Returns the folders that hold the full videos of some roots or versions, those that may.

    Downscaled copies stand in only where no full video is there at all: pixels, and so features,
    of the two differ.

    Args:
        places: roots or their versions, the likeliest first.
    """
    every = [[place / name for place in places] for name in VIDEO_SETS]
    for folders in every:
        filled = [folder for folder in folders if any(folder.glob("*.mp4"))]
        if filled:
            return filled
    return [folder for folders in every for folder in folders]


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Returns a file of that name in the first folder that has one, else where it would be."""
    paths = [folder / name for folder in folders]
    return next(filter(os.path.isfile, paths), paths[0])


def find_metadata(folder: Path) -> Path | None:
    """Returns the `ego4d.json` that speaks of a folder's videos: in it, or up to two above it."""
    absolute = folder.absolute()
    places = [absolute, *absolute.parents][:3]
    return next(filter(os.path.isfile, (place / METADATA for place in places)), None)
