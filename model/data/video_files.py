"""Video files by name, in all folders of the Ego4D client, and their stereo flags."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from extract.dataset.client_layout import below_root, find_file, video_folders
from extract.dataset.manifest import VIDEO_SUFFIXES, stated_videos
from extract.dataset.video_lists import Video
from extract.features.ids import as_id
from model.data.annotations import DataRoot
from model.errors import AnnotationInvalid
from weights.storage.folders import Place


def locate_videos(
    data: DataRoot, videos: Iterable[str], folder: Path | None = None
) -> dict[str, Video]:
    """Returns the path of each video of a data root, whether or not it exists.

    Args:
        data: its `ego4d.json` has the stereo flags.
        videos: names.
        folder: of the files, or the root the client filled; None takes the data root.

    Raises:
        ExtractError: `ego4d.json` cannot be used.
    """
    stated = stated_videos(data.root / data.version)
    if folder is None:
        roots = [data.root / data.version, *below_root(data.root)]
        folders = video_folders(dict.fromkeys(roots))
    else:
        stated |= stated_videos(folder)
        is_root = not any(folder.glob("*.mp4"))
        folders = [folder, *(video_folders(below_root(folder)) if is_root else ())]
    found = {}
    for video in videos:
        file = find_file(f"{video}.mp4", folders)
        known = stated.get(as_id(video), Video(as_id(video), file))
        found[video] = replace(known, path=file, folders=tuple(folders))
    return found


def lengths_beside(*places: Place | None) -> dict[str, int]:
    """Returns frame counts by video id, from an `ego4d.json` beside or above local folders.

    Raises:
        ExtractError: `ego4d.json` cannot be used.
    """
    stated: dict[str, Video] = {}
    for place in places:
        if isinstance(place, Path):
            stated |= stated_videos(place)
    return {video: known.num_frames for video, known in stated.items() if known.num_frames}


def find_videos(folder: Path, videos: Sequence[str]) -> dict[str, Video]:
    """Returns the file of each video: its name with a video suffix.

    Failing that, a file whose name is equal in Unicode NFC is taken.

    Raises:
        AnnotationInvalid: a video has no file, or more than one.
        ExtractError: an `ego4d.json` beside the videos, with the stereo flags, cannot be used.
    """
    there: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            for name in {path.stem, _composed(path.stem)}:
                there.setdefault(name, []).append(path)
    files, stated = {}, stated_videos(folder)
    for video in videos:
        found = there.get(video) or there.get(_composed(video), [])
        found = [path for path in found if path.stem == video] or found
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise AnnotationInvalid(
                f"{folder}: expected one file named {video} with one of the endings "
                f"{' '.join(VIDEO_SUFFIXES)}, found {names}"
            )
        known = stated.get(as_id(video), Video(as_id(video), found[0]))
        files[video] = replace(known, path=found[0], folders=())
    return files


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
