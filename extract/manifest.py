"""Which videos to extract: files, folders and lists of them -> an id and a path each.

Reads the Ego4D client's `manifest.csv` and `ego4d.json`, and lists of our own. Whether the files
are there is not asked here.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.store import is_safe_id

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


def find_videos(paths: Sequence[Path]) -> list[Video]:
    """Returns the videos that files, folders and lists name, in a stable order.

    Folders are searched through; a video that is named twice is one.

    Raises:
        ManifestInvalid: a list cannot be read, or what it names cannot be stored.
        ValueError: nothing found, or two files would get the same id.
        OSError: a list is not there.
    """
    found: dict[str, Video] = {}
    for video in (video for path in paths for video in _videos_in(path)):
        other = found.setdefault(video.id, video)
        if other.path != video.path:
            raise ValueError(f"{other.path} and {video.path} would both be stored as {video.id!r}")
    if not found:
        raise ValueError(f"no video in {', '.join(map(str, paths))}")
    return list(found.values())


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


def _videos_in(path: Path) -> Iterator[Video]:
    if path.is_dir():
        files = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES)
        yield from (Video(file.stem, file) for file in files if file.is_file())
        return
    match path.suffix.lower():
        case ".csv":
            yield from _unique(path, _read_csv(path))
        case ".json":
            yield from _unique(path, _read_ego4d(path))
        case ".txt":
            yield from _unique(path, _read_text(path))
        case _:
            yield Video(path.stem, path)


def _unique(path: Path, rows: Iterable[tuple[str, str, Video]]) -> Iterator[Video]:
    """Checks the ids of a list's rows: (line, column, video)."""
    lines: dict[str, str] = {}
    for line, column, video in rows:
        if not is_safe_id(video.id):
            raise ManifestInvalid(
                f"{path}, {line}, {column}: expected letters, digits, '.', '_' and '-', "
                f"since it names a file; got {video.id!r}"
            )
        if video.id in lines:
            raise ManifestInvalid(
                f"{path}, {line}, {column}: {video.id!r} is named in {lines[video.id]} already"
            )
        lines[video.id] = line
        yield video
    if not lines:
        raise ManifestInvalid(f"{path}: names no video")


def _read_text(path: Path) -> Iterator[tuple[str, str, Video]]:
    """One path a line, from the list's own folder; the file's name is the id."""
    for number, line in enumerate(_lines(path), 1):
        if text := line.strip():
            file = path.parent / text
            yield f"line {number}", "column 1", Video(file.stem, file)


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


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"{path}: not a text in UTF-8: {error}") from error
