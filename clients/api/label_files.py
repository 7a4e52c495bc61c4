"""Task files, labels files and the videos that labels name, as a request to teach takes them."""

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""Of files that are taken for videos."""

Task = Path | Mapping[str, Any]
"""A task file (TOML), or its keys."""

Labels = Path | str | Sequence[Mapping[str, Any]]
"""A labels file (CSV), its text, or its rows."""


def task_of(task: Task) -> dict[str, Any]:
    """Returns the keys of a task file; raises ValueError where it is not TOML."""
    if not isinstance(task, Path):
        return dict(task)
    try:
        return tomllib.loads(task.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{task}: not TOML: {error}") from error


def labels_of(labels: Labels) -> dict[str, Any]:
    """Returns labels as the fields of a request; the server checks them.

    Raises:
        ValueError: a file is not text in UTF-8.
    """
    if isinstance(labels, Path):
        try:
            return {"labels_csv": labels.read_text("utf-8-sig")}
        except UnicodeDecodeError as error:
            raise ValueError(f"{labels}: not text in UTF-8: {error}") from error
    if isinstance(labels, str):
        return {"labels_csv": labels}
    return {"labels": [dict(row) for row in labels]}


def videos_in(labels: Labels) -> list[str]:
    """Returns the videos that labels name, in order, each once; of unreadable ones none.

    What is wrong with labels is for the server to say, of all of them at once.
    """
    fields = labels_of(labels)
    rows: Iterable[Mapping[str, Any]] = fields.get("labels", ())
    if "labels_csv" in fields:
        rows = csv.DictReader(io.StringIO(fields["labels_csv"], newline=""))
    try:
        found = [str(row["video"]).strip() for row in rows if row.get("video")]
    except csv.Error:
        return []
    return list(dict.fromkeys(found))


def locate(names: Sequence[str], folder: Path | None) -> dict[str, Path]:
    """Returns the file of each video, below a folder.

    Args:
        names: of the files, without their endings.
        folder: to look in, at any depth; None if there are no videos to find.

    Raises:
        ValueError: a video has no file, or several, or there is no folder.
    """
    if not names:
        return {}
    if folder is None:
        raise ValueError(
            f"the server keeps no clip named {names[0]!r}, and {len(names)} in all: name the "
            "folder of the videos"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.stem in found and path.is_file():
            found[path.stem].append(path)
    for name, paths in found.items():
        if len(paths) != 1:
            shown = " and ".join(str(path.relative_to(folder)) for path in paths) or "none"
            kinds = ", ".join(ending.removeprefix(".") for ending in ENDINGS)
            raise ValueError(f"{folder}: expected one file named {name} ({kinds}), found {shown}")
    return {name: paths[0] for name, paths in found.items()}
