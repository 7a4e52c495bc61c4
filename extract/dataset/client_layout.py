"""Folder layout of the Ego4D client: metadata of all videos in its root, videos below it.

`ROOT/ego4d.json` and `ROOT/manifest.csv` are of one version, the last one fetched; its documents
place them in `ROOT/v1`. Videos are in `ROOT/v1/full_scale` or `ROOT/v2/full_scale`; copies of
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
    """Returns the folders whose video sets belong to an `ego4d.json` in a folder."""
    return [folder, *(folder / version for version in VERSIONS)]


def video_folders(places: Iterable[Path]) -> list[Path]:
    """Returns the folders of the full videos of some roots or versions.

    Folders of downscaled copies only where there is no full video at all: their features differ.
    Where no folder holds a video, all candidates.

    Args:
        places: roots or their versions, in order of preference.
    """
    every = [[place / name for place in places] for name in VIDEO_SETS]
    for folders in every:
        filled = [folder for folder in folders if any(folder.glob("*.mp4"))]
        if filled:
            return filled
    return [folder for folders in every for folder in folders]


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Returns the file of that name in the first folder that has one, else in the first folder."""
    paths = [folder / name for folder in folders]
    return next(filter(os.path.isfile, paths), paths[0])


def find_metadata(folder: Path) -> Path | None:
    """Returns the `ego4d.json` of a folder's videos: in it, or up to two levels above."""
    absolute = folder.absolute()
    places = [absolute, *absolute.parents][:3]
    return next(filter(os.path.isfile, (place / METADATA for place in places)), None)
