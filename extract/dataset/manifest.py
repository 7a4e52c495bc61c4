"""Manifest of a run: files, folders and lists of videos -> an id and a path each.

Reads the Ego4D client's `manifest.csv` and `ego4d.json`, and lists of our own. A list may name
files that are not there; those of the client are searched for in all its folders.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.dataset.client_layout import find_metadata
from extract.dataset.video_lists import ManifestInvalid, Video, read_csv, read_ego4d, read_lines
from extract.features.ids import as_id, id_of

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
LIST_SUFFIXES = (".csv", ".json", ".txt")


@dataclass(frozen=True)
class _Found:
    """A video and the origin of its id.

    Attributes:
        video: with the id of its file's name, or of its name in a list.
        below: its path below the folder it was found in, or as it was given; None where a list
            states its id.
    """

    video: Video
    below: str | None = None

    def renamed(self, name: str) -> "_Found":
        return replace(self, video=replace(self.video, id=id_of(name)))


def find_videos(paths: Sequence[Path]) -> list[Video]:
    """Returns the videos that files, folders and lists name, in a stable order, each id once.

    Folders are searched recursively; a video that is named twice is one. Files whose names differ
    in their suffixes only, or not at all, have ids made of their paths below the folder or, where
    these are equal too, of the whole paths. None of them then has the id of the name alone, so
    features of one are never taken for those of another that is added later. Length and stereo of a
    file that no list describes are those in the `ego4d.json` above it.

    Raises:
        ManifestInvalid: a list cannot be read.
        ValueError: nothing found, or lists give two files the same id.
        OSError: a list is not there.
    """
    stated = StatedVideos()
    found = _once([one for path in paths for one in _videos_in(path, stated)])
    if not found:
        raise ValueError(f"no video in {', '.join(map(str, paths))}")
    found = _with_distinct_ids(found, lambda one: os.path.join(".", one.below or ""))
    found = _with_distinct_ids(found, lambda one: os.path.abspath(one.video.path))
    _warn_of_path_ids(found)
    known: dict[str, Video] = {}
    for video in (one.video for one in found):
        other = known.setdefault(video.id, video)
        if other is not video:
            raise ValueError(f"{other.path} and {video.path} would both be stored as {video.id!r}")
    return list(known.values())


def shard_of(videos: Iterable[Video], index: int, count: int) -> list[Video]:
    """Returns part `index` of `count`, from 1: each video is in exactly one of them.

    Determined by the id alone, so machines whose lists differ share the work without overlap.

    Raises:
        ValueError: there is no such part.
    """
    if not 1 <= index <= count:
        raise ValueError(f"expected a shard from 1/{count} to {count}/{count}, got {index}/{count}")
    return [video for video in videos if _number_of(video.id) % count == index - 1]


def _number_of(video_id: str) -> int:
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big")


def _once(found: Sequence[_Found]) -> list[_Found]:
    """Drops duplicates: the same file under the same id."""
    count = Counter(one.video.id for one in found)
    first: dict[tuple[str, str], _Found] = {}
    for one in found:
        path = str(one.video.path)
        # The path is resolved only for an id that occurs twice.
        real = os.path.realpath(path) if count[one.video.id] > 1 else path
        first.setdefault((one.video.id, real), one)
    return list(first.values())


def _with_distinct_ids(found: Sequence[_Found], name_of: Callable[[_Found], str]) -> list[_Found]:
    """Derives other ids for files that share one; ids of lists stay."""
    count = Counter(one.video.id for one in found)
    return _once(
        [
            one.renamed(name_of(one)) if count[one.video.id] > 1 and one.below is not None else one
            for one in found
        ]
    )


def _warn_of_path_ids(found: Sequence[_Found]) -> None:
    named = [one.video for one in found if one.below is not None]
    moved = [video for video in named if video.id != id_of(video.path.stem)]
    if moved:
        logger.warning(
            "%d files share their names with others, so their ids are made of their paths: "
            "%s of %s, for one",
            len(moved),
            moved[0].id,
            moved[0].path,
        )


def stated_videos(folder: Path) -> dict[str, Video]:
    """Returns, by id, the videos of the `ego4d.json` in a folder or up to two levels above it.

    Empty where there is no such file.

    Raises:
        ManifestInvalid: the file cannot be used.
    """
    path = find_metadata(folder)
    found = () if path is None else _listed(path, read_ego4d(path))
    return {one.video.id: one.video for one in found}


class StatedVideos:
    """Cache of the videos that `ego4d.json` files state; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[Path | None, dict[str, Video]] = {None: {}}

    def of_file(self, path: Path) -> Video:
        """Returns the video in a file, with the id of the file's name."""
        metadata = find_metadata(path.parent)
        if metadata not in self._known:
            self._known[metadata] = stated_videos(path.parent)
        video = Video(id_of(path.stem), path)
        known = self._known[metadata].get(as_id(path.stem), video)
        return replace(known, id=video.id, path=path, folders=())


def _videos_in(path: Path, stated: StatedVideos) -> Iterator[_Found]:
    if path.is_dir():
        files = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES)
        for file in files:
            if file.is_file():
                yield _Found(stated.of_file(file), str(file.relative_to(path)))
        return
    match path.suffix.lower():
        case ".csv":
            yield from _listed(path, read_csv(path))
        case ".json":
            yield from _listed(path, read_ego4d(path))
        case ".txt":
            yield from _read_text(path, stated)
        case _:
            yield _Found(stated.of_file(path), os.path.normpath(path))


def _listed(path: Path, rows: Iterable[tuple[str, str, Video]]) -> Iterator[_Found]:
    """Checks the ids in a list's rows, (line, column, video)."""
    lines: dict[str, str] = {}
    for line, column, video in rows:
        if video.id in lines:
            raise ManifestInvalid(
                f"{path}, {line}, {column}: {video.id!r} is named in {lines[video.id]} already"
            )
        lines[video.id] = line
        yield _Found(replace(video, id=as_id(video.id)))
    if not lines:
        raise ManifestInvalid(f"{path}: names no video")


def _read_text(path: Path, stated: StatedVideos) -> Iterator[_Found]:
    """Reads one path a line, relative to the list's folder; the file's name gives the id."""
    is_empty = True
    # File names need not be UTF-8.
    for number, line in enumerate(read_lines(path, errors="surrogateescape"), 1):
        if "\0" in line:
            raise ManifestInvalid(f"{path}, line {number}: not a text in UTF-8: holds a zero byte")
        if text := line.strip():
            is_empty = False
            yield _Found(stated.of_file(path.parent / text), os.path.normpath(text))
    if is_empty:
        raise ManifestInvalid(f"{path}: names no video")
