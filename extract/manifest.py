"""Which videos to extract: files, folders and lists of them -> an id and a path each.

Reads the Ego4D client's `manifest.csv` and `ego4d.json`, and lists of our own. Whether the files
are there is not asked here.
"""

import csv
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extract.ids import as_id, id_of

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
LIST_SUFFIXES = (".csv", ".json", ".txt")

_ID_COLUMNS = ("id", "video_uid", "file_uid")
_REMOTE_COLUMNS = ("canonical_s3_location", "s3_path")
_FULL_VIDEOS = "full_scale"


@dataclass(frozen=True)
class Video:
    """One video to extract.

    Attributes:
        id: names its feature file.
        path: where it is.
        num_frames: its length at 30 frames a second, where a manifest states it.
        is_stereo: its frames hold two pictures side by side, and the left one is used.
        video_track: which of the file's video tracks; None takes the one marked as default.
    """

    id: str
    path: Path
    num_frames: int | None = None
    is_stereo: bool = False
    video_track: int | None = None


class ManifestInvalid(ValueError):
    """A list of videos cannot be used; the message names file, line and column."""


@dataclass(frozen=True)
class _Found:
    """A video and what names it.

    Attributes:
        video: its id is that of its file's name, or of what a list calls it.
        below: its path below the folder it was found in, or as it was given; None where a list
            says its id.
    """

    video: Video
    below: str | None = None

    def renamed(self, name: str) -> "_Found":
        return replace(self, video=replace(self.video, id=id_of(name)))


def find_videos(paths: Sequence[Path]) -> list[Video]:
    """Returns the videos that files, folders and lists name, in a stable order, each id once.

    Folders are searched through; a video that is named twice is one. Files of one name, or whose
    names differ in their endings only, have ids made of their paths below the folder or, where
    these are the same too, of the whole paths. None of them then has the id of the name alone, so
    the features of one are never taken for those of another that came later.

    Raises:
        ManifestInvalid: a list cannot be read.
        ValueError: nothing found, or lists give two files the same id.
        OSError: a list is not there.
    """
    found = _once([one for path in paths for one in _videos_in(path)])
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

    Decided by the id alone, so machines whose lists differ still share the work without overlap.

    Raises:
        ValueError: there is no such part.
    """
    if not 1 <= index <= count:
        raise ValueError(f"expected a shard from 1/{count} to {count}/{count}, got {index}/{count}")
    return [video for video in videos if _number_of(video.id) % count == index - 1]


def _number_of(video_id: str) -> int:
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big")


def _once(found: Sequence[_Found]) -> list[_Found]:
    """Leaves out what is the same file under the same id again."""
    count = Counter(one.video.id for one in found)
    first: dict[tuple[str, str], _Found] = {}
    for one in found:
        path = str(one.video.path)
        # The disk is asked only where it matters.
        real = os.path.realpath(path) if count[one.video.id] > 1 else path
        first.setdefault((one.video.id, real), one)
    return list(first.values())


def _with_distinct_ids(found: Sequence[_Found], name_of: Callable[[_Found], str]) -> list[_Found]:
    """Gives files that have the same id an id by another name; what a list calls a video stays."""
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


def _videos_in(path: Path) -> Iterator[_Found]:
    if path.is_dir():
        files = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES)
        yield from (_named(file, str(file.relative_to(path))) for file in files if file.is_file())
        return
    match path.suffix.lower():
        case ".csv":
            yield from _listed(path, _read_csv(path))
        case ".json":
            yield from _listed(path, _read_ego4d(path))
        case ".txt":
            yield from _read_text(path)
        case _:
            yield _named(path, os.path.normpath(path))


def _named(file: Path, below: str) -> _Found:
    return _Found(Video(id_of(file.stem), file), below)


def _listed(path: Path, rows: Iterable[tuple[str, str, Video]]) -> Iterator[_Found]:
    """Checks the ids that a list gives: (line, column, video)."""
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


def _read_text(path: Path) -> Iterator[_Found]:
    """One path a line, from the list's own folder; the file's name is the id."""
    is_empty = True
    # Names of files need not be UTF-8.
    for number, line in enumerate(_lines(path, errors="surrogateescape"), 1):
        if "\0" in line:
            raise ManifestInvalid(f"{path}, line {number}: not a text in UTF-8: holds a zero byte")
        if text := line.strip():
            is_empty = False
            yield _named(path.parent / text, os.path.normpath(text))
    if is_empty:
        raise ManifestInvalid(f"{path}: names no video")


def _read_csv(path: Path) -> Iterator[tuple[str, str, Video]]:
    """Ours (`id,path`) or the Ego4D client's manifest (an address in the bucket for a path)."""
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        id_column = _column(path, header, _ID_COLUMNS)
        path_column = _column(path, header, ("path", *_REMOTE_COLUMNS))
        reader.fieldnames = header
        for row in reader:
            line = f"line {reader.line_num}"
            values = {name: _cell(path, line, row, name) for name in (id_column, path_column)}
            place = values[path_column]
            if path_column in _REMOTE_COLUMNS:
                # The client puts a video beside its manifest, under its id.
                place = values[id_column] + (Path(place).suffix or ".mp4")
            length = row.get("num_frames") or None
            frames = None if length is None else _frames(path, line, length)
            stereo = _truth(path, line, row.get("is_stereo"))
            video = Video(values[id_column], path.parent / place, frames, stereo)
            yield line, f"column {id_column!r}", video
    except csv.Error as error:
        raise ManifestInvalid(f"{path}, line {reader.line_num}: {error}") from error


def _read_ego4d(path: Path) -> Iterator[tuple[str, str, Video]]:
    """`ego4d.json`: its videos are in the folder `full_scale` beside it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestInvalid(f"{path}: not JSON: {error}") from error
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, list):
        raise ManifestInvalid(f"{path}: expected an object with a list 'videos', as in ego4d.json")
    for number, entry in enumerate(videos):
        line = f"videos[{number}]"
        uid = entry.get("video_uid") if isinstance(entry, dict) else None
        if not isinstance(uid, str):
            raise ManifestInvalid(f"{path}, {line}, 'video_uid': expected a string, got {uid!r}")
        file = path.parent / _FULL_VIDEOS / f"{uid}.mp4"
        stereo = _truth(path, line, entry.get("is_stereo"))
        yield line, "'video_uid'", Video(uid, file, _stated_frames(path, line, entry), stereo)


def _stated_frames(path: Path, line: str, entry: Mapping[str, Any]) -> int | None:
    facts = entry.get("video_metadata") or {}
    frames = facts.get("num_frames") if isinstance(facts, dict) else None
    # The canonical videos have 30 frames a second; another rate is resampled to another length.
    if frames is None or facts.get("fps", 30) != 30:
        return None
    return _frames(path, line, frames)


def _frames(path: Path, line: str, value: object) -> int:
    try:
        frames = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        frames = 0
    if frames < 1:
        raise ManifestInvalid(
            f"{path}, {line}, column 'num_frames': expected a positive number, got {value!r}"
        )
    return int(frames)


def _truth(path: Path, line: str, value: object) -> bool:
    known = {"": False, "none": False, "0": False, "false": False, "1": True, "true": True}
    text = str(value).strip().lower()
    if text not in known:
        raise ManifestInvalid(
            f"{path}, {line}, column 'is_stereo': expected true or false, got {value!r}"
        )
    return known[text]


def _column(path: Path, header: Sequence[str], known: Sequence[str]) -> str:
    column = next((name for name in known if name in header), None)
    if column is None:
        raise ManifestInvalid(
            f"{path}, line 1: expected a column named {' or '.join(map(repr, known))}, "
            f"got {', '.join(map(repr, header)) or 'nothing'}"
        )
    return column


def _cell(path: Path, line: str, row: Mapping[str | None, Any], column: str) -> str:
    if None in row:
        raise ManifestInvalid(f"{path}, {line}: has more columns than the header")
    value = (row[column] or "").strip()
    if not value:
        raise ManifestInvalid(f"{path}, {line}, column {column!r}: is empty")
    return value


def _lines(path: Path, errors: str = "strict") -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="", errors=errors) as file:
            yield from file
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"{path}: not a text in UTF-8: {error}") from error
