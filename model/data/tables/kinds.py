"""Data sets by name: `KIND:ROOT` -> a table of segments."""

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from extract.features.ids import as_id
from model.data.tables.overlaps import Overlaps
from model.data.tables.readers.captaincook4d import read_captaincook4d
from model.data.tables.readers.cvat import read_cvat
from model.data.tables.readers.egoexolearn import read_egoexolearn
from model.data.tables.readers.egtea import read_egtea
from model.data.tables.readers.epic_kitchens import read_epic_kitchens
from model.data.tables.readers.goalstep import read_goalstep
from model.data.tables.readers.label_studio import read_label_studio
from model.data.tables.readers.table_file import read_table
from model.data.tables.table import SegmentTable
from model.errors import AnnotationInvalid

KINDS: Mapping[str, Callable[..., SegmentTable]] = {
    "table": read_table,
    "epic-kitchens": read_epic_kitchens,
    "egoexolearn": read_egoexolearn,
    "goalstep": read_goalstep,
    "captaincook4d": read_captaincook4d,
    "egtea": read_egtea,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
}
"""Name -> reader of a file or a folder."""


def is_spec(text: str) -> bool:
    """Returns whether a text names a data set by kind: `KIND:ROOT` with a known kind."""
    return text.partition(":")[0] in KINDS


def load_table(
    spec: str, *, fps: float | None = None, overlaps: Overlaps | None = None
) -> SegmentTable:
    """Returns the segments of a data set.

    Args:
        spec: `KIND:ROOT`, such as `table:labels.csv` or `epic-kitchens:/data/epic`.
        fps: frames a second of the videos, for kinds that count in frames.
        overlaps: "refuse" or "allow" rows that overlap with different labels of one output; for
            kinds that refuse them by default.

    Raises:
        AnnotationInvalid: the kind is unknown or has no such option, or its files are missing or
            malformed.
    """
    kind, colon, root = spec.partition(":")
    if not (colon and root and kind in KINDS):
        raise AnnotationInvalid(
            f"{spec!r} names no data set: expected KIND:ROOT, where KIND is one of "
            f"{', '.join(KINDS)}"
        )
    read = KINDS[kind]
    if fps is not None and not 0 < fps < math.inf:
        raise AnnotationInvalid(f"--fps: expected frames a second, more than 0, got {fps:g}")
    options: dict[str, Any] = {"fps": fps, "overlaps": overlaps}
    given = {name: value for name, value in options.items() if value is not None}
    if unused := sorted(given.keys() - inspect.signature(read).parameters.keys()):
        raise AnnotationInvalid(f"{kind} data has no use for --{', --'.join(unused)}: leave it out")
    return read(Path(root).expanduser(), **given)


def source_name(spec: str) -> str:
    """Returns `KIND:ROOT` without the place of the root."""
    kind, _, root = spec.partition(":")
    return f"{kind}:{Path(root).name}"


def run_name(spec: str) -> str:
    """Returns a name for the run and the bundle, such as "table-labels"."""
    kind, _, root = spec.partition(":")
    stem = as_id(Path(root).expanduser().resolve().stem).partition("=")[0].lower()
    return stem if stem.startswith(kind) else f"{kind}-{stem}"
