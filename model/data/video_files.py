"""Video files by name, in all folders of the Ego4D client, and their stereo flags."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from types import MappingProxyType

from extract.dataset.client_layout import below_root, find_file, video_folders
from extract.dataset.manifest import VIDEO_SUFFIXES, StatedVideos, stated_videos
from extract.dataset.video_lists import Video
from extract.features.ids import as_id
from model.data.annotations import DataRoot
from model.data.tables.problems import Problems
from model.data.tables.table import SegmentTable, composed
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


def find_videos(
    folder: Path,
    videos: Sequence[str],
    *,
    names: Sequence[str] = ("{}",),
    named_in: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Video]:
    """Returns the file of each video in a folder or below it.

    A video is named as its file is called, with or without the ending, and with as many folders
    before it as tell it from others: `clip`, `clip.MP4`, `day 1/clip`. A file in the folder itself
    goes before one below it, and a name spelt alike before one that is equal in Unicode NFC.

    Args:
        folder: that is searched, links to folders included.
        videos: their names.
        names: what a file may be called, where `{}` is the video; the first that is there counts.
        named_in: places that name a video, for messages.

    Raises:
        AnnotationInvalid: videos have no file, or several, or share one; names all of them.
        ExtractError: an `ego4d.json` beside the videos, with the stereo flags, cannot be used.
    """
    there = _files_by_name(folder)
    wrong = Problems(str(folder), f"Files of videos end in {' '.join(VIDEO_SUFFIXES)}.")
    files: dict[str, Video] = {}
    owner: dict[PurePath, str] = {}
    stated = StatedVideos()
    for video in videos:
        found = next(filter(None, (_matches(there, name.format(video)) for name in names)), [])
        if len(found) != 1:
            paths = " and ".join(map(str, found)) or _nearest(there, video)
            place = f"{named_in[video]}: " if video in named_in else ""
            wrong.add(f"{place}expected one file named {video}, found {paths}")
        elif owner.setdefault(found[0], video) != video:
            wrong.add(f"{found[0]} is called {owner[found[0]]} and {video}: use one name")
        else:
            files[video] = replace(stated.of_file(folder / found[0]), id=as_id(video))
    wrong.check()
    return files


def find_table_videos(
    folder: Path, table: SegmentTable, videos: Sequence[str] | None = None
) -> dict[str, Video]:
    """Returns the files of a table's videos, as `find_videos` does.

    Args:
        folder: that is searched.
        table: names the videos.
        videos: some of them; None takes all.

    Raises:
        AnnotationInvalid: as there; names the first row of each video.
        ExtractError: as there.
    """
    first: dict[str, int] = {}
    for row, video in enumerate(table.video):
        first.setdefault(video, row)
    places = {video: table.where(row) for video, row in first.items()}
    wanted = table.videos if videos is None else videos
    return find_videos(folder, wanted, names=table.file_names, named_in=places)


def _files_by_name(folder: Path) -> dict[str, list[PurePath]]:
    """Paths below the folder, by all that may name them, in Unicode NFC."""
    there: dict[str, list[PurePath]] = {}
    for path in sorted(_files(folder)):
        below = path.relative_to(folder)
        for name in {composed(name) for name in _names(below)}:
            there.setdefault(name, []).append(below)
    return there


def _files(folder: Path) -> Iterator[Path]:
    """The video files; a folder that several links lead to is entered once."""
    entered: set[str] = set()
    for home, inner, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(home)
        if real in entered:
            inner.clear()
            continue
        entered.add(real)
        inner.sort()
        paths = (Path(home, name) for name in names)
        yield from (p for p in paths if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())


def _names(below: PurePath) -> list[str]:
    """What names a file: its path, with and without ending, then the same from each folder on."""
    whole = ["/".join(below.parts[start:]) for start in range(len(below.parts))]
    return [name for text in whole for name in (text, text.removesuffix(below.suffix))]


def _matches(there: Mapping[str, list[PurePath]], name: str) -> list[PurePath]:
    found = there.get(composed(name), [])
    in_folder = [path for path in found if name in _names(path)[:2]]
    return in_folder or [path for path in found if name in _names(path)] or found


def _nearest(there: Mapping[str, list[PurePath]], video: str) -> str:
    name = composed(video).casefold()
    near = next((known for known in there if known.casefold() == name), None)
    return "none" if near is None else f"none; {there[near][0]} differs in capitals"
