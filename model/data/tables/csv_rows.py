"""Rows of CSV files and what their cells say; errors name file, line and column."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from model.errors import AnnotationInvalid

MAX_ROWS = 2_000_000
"""Of one file; a row takes about 550 bytes while it is read."""

_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:[.,]\d+)?)")

Cells = dict[str, str]
"""Of a row: column -> cell, without blanks around it."""


def read_csv(
    path: Path, needed: Sequence[str], *, delimiter: str = ","
) -> Iterator[tuple[int, Cells]]:
    """Yields the line and the cells of every row; rows without any text are left out.

    Args:
        path: of a CSV file in UTF-8, with or without a byte order mark, with a header.
        needed: columns that there must be.
        delimiter: between cells.

    Raises:
        AnnotationInvalid: the file cannot be read, is no such file, has too many rows, lacks a
            column or names one twice, or a row has more or fewer cells than the header.
    """
    with _opened(path) as file:
        reader = csv.reader(file, strict=True, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader, [])]
            check_header(path, header, needed)
            for cells in reader:
                line = reader.line_num
                if line > MAX_ROWS:
                    raise AnnotationInvalid(f"{path}: has more than {MAX_ROWS} lines, the limit")
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise AnnotationInvalid(
                        f"{path}, line {line}: has more or fewer cells than the header, "
                        f"{len(cells)} instead of {len(header)}; a label with {delimiter!r} in it "
                        "stands in double quotes"
                    )
                yield line, dict(zip(header, map(str.strip, cells), strict=True))
        except csv.Error as error:
            raise AnnotationInvalid(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def read_header(path: Path, delimiters: str = ",") -> tuple[str, list[str]]:
    """Returns the delimiter that gives a file the most columns, and their names.

    Raises:
        AnnotationInvalid: the file cannot be read, or is not in UTF-8.
    """
    _, first = next(read_lines(path), (0, ""))
    found = {mark: next(csv.reader([first], delimiter=mark), []) for mark in delimiters}
    delimiter = max(delimiters, key=lambda mark: len(found[mark]))
    return delimiter, [name.strip() for name in found[delimiter]]


def check_header(path: Path, header: Sequence[str], needed: Sequence[str]) -> None:
    """Checks that a file has columns, each under a name of its own.

    Raises:
        AnnotationInvalid: one is missing, unnamed or named twice.
    """
    missing = [name for name in needed if name not in header]
    if missing:
        close = {name: get_close_matches(name, header, 1) for name in missing}
        hints = [f"; {near[0]!r} would have to be {name!r}" for name, near in close.items() if near]
        raise AnnotationInvalid(
            f"{path}, line 1: needs the columns {', '.join(needed)}; lacks {', '.join(missing)}: "
            f"has {', '.join(map(repr, header)) or 'nothing'}{''.join(hints)}"
        )
    for number, name in enumerate(header, 1):
        if not name:
            raise AnnotationInvalid(f"{path}, line 1: column {number} has no name")
        if header.count(name) > 1:
            raise AnnotationInvalid(f"{path}, line 1: two columns have the name {name!r}")


def seconds(where: str, column: str, text: str) -> float:
    """Returns a cell that is a number of seconds.

    Raises:
        AnnotationInvalid: it is no number, or not from 0 on.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise AnnotationInvalid(f"{where}, {column}: expected seconds from 0, got {text!r:.80}")
    return found


def clock_seconds(text: str) -> float | None:
    """Returns the seconds of a time such as `00:01:02.50`; None for another text."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3].replace(",", "."))


def clock(where: str, column: str, text: str) -> float:
    """Returns a cell that is a time such as `00:01:02.50`, in seconds.

    Raises:
        AnnotationInvalid: it is none.
    """
    found = clock_seconds(text)
    if found is None:
        raise AnnotationInvalid(f"{where}, {column}: expected HH:MM:SS.ss, got {text!r:.80}")
    return found


def read_names(path: Path, key: str, name: str) -> dict[str, str]:
    """Returns the names of a file's classes by their ids, both as text.

    Args:
        path: of a CSV file.
        key: column of the ids.
        name: column of the names.

    Raises:
        AnnotationInvalid: the file cannot be used, or gives an id twice.
    """
    names: dict[str, str] = {}
    for line, row in read_csv(path, (key, name)):
        if row[key] in names or not row[name]:
            wrong = "is there already" if row[key] in names else f"has no {name}"
            raise AnnotationInvalid(f"{path}, line {line}: {key} {row[key]!r} {wrong}")
        names[row[key]] = row[name]
    return names


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of every line that has any.

    Raises:
        AnnotationInvalid: the file cannot be read, or is not in UTF-8.
    """
    with _opened(path) as file:
        yield from ((n, line.strip()) for n, line in enumerate(file, 1) if line.strip())


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise AnnotationInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationInvalid(
            f"{path}, line {_undecodable_line(path)}: not UTF-8; save the file as text in UTF-8"
        ) from error


def _undecodable_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
