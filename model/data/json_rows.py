"""Typed reading of JSON annotation rows; errors name file, row and field."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from model.errors import AnnotationInvalid

_IDS = ("unique_id", "clip_uid", "action_idx")


@dataclass(frozen=True)
class Row:
    """One element of an annotation file's list.

    Attributes:
        values: the element.
        file: the file's name.
        position: in the list.
    """

    values: Mapping[str, Any]
    file: str
    position: int

    def text(self, name: str) -> str:
        """Returns a field that is a non-empty string."""
        value = self._get(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, "a string", value)
        return value

    def whole(self, name: str) -> int:
        """Returns a field that is a whole number, `3030.0` included."""
        value = self._get(name)
        if not _is_number(value) or value != int(value):
            raise self.error(name, "a whole number", value)
        return int(value)

    def number(self, name: str) -> float:
        """Returns a field that is a finite number."""
        value = self._get(name)
        if not _is_number(value):
            raise self.error(name, "a number", value)
        return float(value)

    def flag(self, name: str) -> bool | None:
        """Returns a field that is true, false or null."""
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            raise self.error(name, "true, false or null", value)
        return value

    def label(self, name: str, count: int) -> int | None:
        """Returns a field that is an id below `count` of a label space, or null."""
        if self._get(name) is None:
            return None
        value = self.whole(name)
        if not 0 <= value < count:
            raise self.error(name, f"null or 0 to {count - 1}, as the taxonomy has it", value)
        return value

    def error(self, name: str, expected: str, found: object, remedy: str = "") -> AnnotationInvalid:
        """Returns the error for a field, with an optional remedy."""
        todo = f". {remedy}" if remedy else ""
        return AnnotationInvalid(f"{self}: {name}: expected {expected}, got {found!r}{todo}")

    def __str__(self) -> str:
        ids = ", ".join(f"{name} {self.values[name]!r}" for name in _IDS if name in self.values)
        return f"{self.file}, row {self.position}" + (f" ({ids})" if ids else "")

    def _get(self, name: str) -> Any:
        if name not in self.values:
            present = ", ".join(sorted(self.values)) or "none"
            raise AnnotationInvalid(f"{self}: no field {name!r}; present: {present}")
        return self.values[name]


def read_rows(path: Path, *, remedy: str, under: str = "clips") -> list[Row]:
    """Returns the rows of a file: a bare list, or one under a key as in released files.

    Raises:
        AnnotationInvalid: the file is missing or holds no such list.
    """
    values = read_json(path, remedy=remedy)
    if isinstance(values, dict):
        values = values.get(under)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise AnnotationInvalid(f"{path}: expected a list of objects, bare or under {under!r}")
    return [Row(value, path.name, position) for position, value in enumerate(values)]


def read_json(path: Path, *, remedy: str) -> Any:
    """Returns the value of a JSON file.

    Args:
        path: of the file.
        remedy: advice in the error for a missing file.

    Raises:
        AnnotationInvalid: the file is missing or not JSON.
    """
    if not path.is_file():
        raise AnnotationInvalid(f"{path} is not there. {remedy}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationInvalid(f"{path} is not JSON: {error}") from error


def check_unique(rows: Sequence[Row], *names: str) -> None:
    """Refuses two rows that agree in all the fields named.

    Raises:
        AnnotationInvalid: there are such rows.
    """
    first: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = tuple(row.values[name] for name in names)
        if key in first:
            raise row.error(" and ".join(names), f"other than row {first[key]}'s", key)
        first[key] = row.position


def _is_number(value: object) -> bool:
    """Whether a value is a number that a float represents exactly; not true, NaN or infinity."""
    return type(value) in (int, float) and abs(cast(float, value)) < 2**53
