"""Parsers of video lists, ours and the Ego4D client's.

Rows are (line, column, video), the first two for messages about the video's id.
"""

import csv
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.dataset.client_layout import below_root, find_file, video_folders
from extract.errors import ExtractError

_ID_COLUMNS = ("id", "video_uid", "file_uid")
_REMOTE_COLUMNS = ("canonical_s3_location", "s3_path")


@dataclass(frozen=True)
class Video:
    """One video to extract.

    Attributes:
        id: name of its feature file.
        path: of its file.
        num_frames: its length at 30 frames a second, where a manifest states it.
        is_stereo: frames hold two pictures side by side, of which the left is used.
        video_track: which of the file's video tracks; None takes the one marked as default.
        folders: folders of the client that were searched.
    """

    id: str
    path: Path
    num_frames: int | None = None
    is_stereo: bool = False
    video_track: int | None = None
    folders: tuple[Path, ...] = field(default=(), compare=False)

    @property
    def sought(self) -> str:
        """Every path that its file was searched at, in words."""
        places = [folder / self.path.name for folder in self.folders]
        return " or ".join(map(str, places or [self.path]))

    def check_there(self) -> None:
        """Checks that the file is there.

        Raises:
            FileNotFoundError: it is not; names every path that was searched.
            OSError: it is not accessible.
        """
        if self.folders and not os.path.isfile(self.path):
            raise FileNotFoundError(errno.ENOENT, "no such file", self.sought)
        self.path.stat()


class ManifestInvalid(ExtractError, ValueError):
    """A list of videos cannot be used; the message names file, line and column."""


def read_csv(path: Path) -> Iterator[tuple[str, str, Video]]:
    """Reads ours (`id,path`) or the Ego4D client's manifest (a bucket address for a path)."""
    reader = csv.DictReader(read_lines(path), strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        id_column = _column(path, header, _ID_COLUMNS)
        path_column = _column(path, header, ("path", *_REMOTE_COLUMNS))
        reader.fieldnames = header
        is_clients = path_column in _REMOTE_COLUMNS
        folders = _beside_or_below(path.parent) if is_clients else []
        for row in reader:
            line = f"line {reader.line_num}"
            values = {name: _cell(path, line, row, name) for name in (id_column, path_column)}
            file = path.parent / values[path_column]
            if is_clients:  # stored under its id, not under its name in the bucket
                suffix = Path(values[path_column]).suffix or ".mp4"
                file = find_file(values[id_column] + suffix, folders)
            length = row.get("num_frames") or None
            frames = None if length is None else _frames(path, line, length)
            stereo = _truth(path, line, row.get("is_stereo"))
            video = Video(values[id_column], file, frames, stereo, folders=tuple(folders))
            yield line, f"column {id_column!r}", video
    except csv.Error as error:
        raise ManifestInvalid(f"{path}, line {reader.line_num}: {error}") from error


def _beside_or_below(folder: Path) -> list[Path]:
    """Returns the folders of a client manifest's videos: beside it, or below it as the root."""
    if any(folder.glob("*.mp4")):
        return [folder]
    return [folder, *video_folders(below_root(folder))]


def read_ego4d(path: Path) -> Iterator[tuple[str, str, Video]]:
    """Reads `ego4d.json`; its videos are in the client's folders below it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestInvalid(f"{path}: not JSON: {error}") from error
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, list):
        raise ManifestInvalid(f"{path}: expected an object with a list 'videos', as in ego4d.json")
    folders = video_folders(below_root(path.parent))
    for number, entry in enumerate(videos):
        line = f"videos[{number}]"
        uid = entry.get("video_uid") if isinstance(entry, dict) else None
        if not isinstance(uid, str):
            raise ManifestInvalid(f"{path}, {line}, 'video_uid': expected a string, got {uid!r}")
        stereo = _truth(path, line, entry.get("is_stereo"))
        frames = _stated_frames(path, line, entry)
        file = find_file(f"{uid}.mp4", folders)
        yield line, "'video_uid'", Video(uid, file, frames, stereo, folders=tuple(folders))


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


def read_lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """Yields the lines of a text in UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="", errors=errors) as file:
            yield from file
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"{path}: not a text in UTF-8: {error}") from error
