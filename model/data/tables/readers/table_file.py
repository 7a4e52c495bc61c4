"""Reader of a table that people made themselves: CSV, TSV or Parquet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import intern
from typing import Any

from model.data.tables.csv_rows import (
    MAX_ROWS,
    Cells,
    check_header,
    clock_seconds,
    read_csv,
    read_header,
    seconds,
)
from model.data.tables.label_file import SPLITS, Split
from model.data.tables.overlaps import Overlaps, check_overlaps, check_repeated
from model.data.tables.problems import Problems
from model.data.tables.table import Segment, SegmentTable, composed
from model.errors import AnnotationInvalid

START, END = ("start_s", "start"), ("end_s", "end")
"""Columns of a segment's bounds: seconds, or `HH:MM:SS.mmm`."""

DELIMITERS = ",;\t"
EMPTY_CELLS = ("nan", "NaN", "NULL", "<NA>")
"""What other programs write for no value at all."""


def read_table(path: Path, *, overlaps: Overlaps = "refuse") -> SegmentTable:
    """Reads columns video, start_s, end_s, optionally split, then a column of labels an output.

    The bounds are seconds, or all of them `HH:MM:SS.mmm`; they may be called `start` and `end`. A
    cell of a label may be empty. Commas, semicolons and tabs are recognised as delimiters; with the
    last two, seconds may have a decimal comma.

    Args:
        path: `.parquet`, or a text in UTF-8.
        overlaps: whether rows may overlap with different labels of one output.

    Raises:
        AnnotationInvalid: the file or some rows are invalid; names all lines of a kind.
    """
    is_parquet = path.suffix.lower() in (".parquet", ".pq")
    header, rows = _read_parquet(path) if is_parquet else _read_text(path)
    start, end = (_one_of(path, header, names) for names in (START, END))
    check_header(path, header, ("video", start, end))
    outputs = [name for name in header if name not in ("video", start, end, "split")]
    if not outputs:
        raise AnnotationInvalid(
            f"{path}, line 1: needs a column of labels besides {', '.join(header)}"
        )
    reading = _Reading(path, start, end, outputs)
    segments = [segment for place, row in rows if (segment := reading.segment(place, row))]
    reading.check()
    split = reading.splits if "split" in header else None
    table = SegmentTable.from_segments(str(path), outputs, segments, split=split)
    check_repeated(table)
    if overlaps == "refuse":
        check_overlaps(table)
    return table


class _Reading:
    """What the rows of one file say; problems are gathered.

    Attributes:
        splits: of the videos so far.
    """

    def __init__(self, path: Path, start: str, end: str, outputs: Sequence[str]) -> None:
        self.splits: dict[str, Split] = {}
        self._file = str(path)
        self._bounds = start, end
        self._outputs = outputs
        self._problems = Problems(str(path))
        self._clock_from: dict[bool, int | str] = {}

    def check(self) -> None:
        """Raises what is wrong with the rows so far."""
        self._problems.check()

    def segment(self, place: int | str, row: Cells) -> Segment | None:
        """Returns a row's segment; None for one with problems."""
        where = f"line {place}" if isinstance(place, int) else place
        try:
            if not row["video"]:
                raise AnnotationInvalid(f"{where}, video: expected a name, got nothing")
            start_s, end_s = (self._time(where, place, row, column) for column in self._bounds)
            if end_s <= start_s:
                start, end = self._bounds
                raise AnnotationInvalid(
                    f"{where}, {end}: expected more than {start} ({row[start]}), got {row[end]}"
                )
            labels = tuple(_label(where, name, row[name]) for name in self._outputs)
            if "split" in row:
                self._note_split(where, row)
        except AnnotationInvalid as error:
            self._problems.add(str(error))
            return None
        return Segment(intern(row["video"]), start_s, end_s, labels, self._file, place)

    def _time(self, where: str, place: int | str, row: Cells, column: str) -> float:
        on_clock = clock_seconds(row[column])
        value = seconds(where, column, row[column]) if on_clock is None else on_clock
        first = self._clock_from.setdefault(on_clock is not None, place)
        if len(self._clock_from) > 1 and first == place:
            kinds = "HH:MM:SS", "seconds"
            this, other = kinds if on_clock is not None else kinds[::-1]
            raise AnnotationInvalid(
                f"{where}, {column}: {row[column]!r} is {this}, but above there are {other}: use "
                "one of them throughout"
            )
        return value

    def _note_split(self, where: str, row: Cells) -> None:
        part = next((s for s in SPLITS if s == row["split"]), None)
        if part is None:
            raise AnnotationInvalid(
                f"{where}, split: expected one of {', '.join(SPLITS)}, got {row['split']!r:.80}"
            )
        known = self.splits.setdefault(composed(row["video"]), part)
        if known != part:
            raise AnnotationInvalid(
                f"{where}, split: {row['video']} is for {known} in a row above, here for {part}; a "
                "video is in one split"
            )


def _one_of(path: Path, header: Sequence[str], names: Sequence[str]) -> str:
    found = [name for name in names if name in header]
    if len(found) > 1:
        raise AnnotationInvalid(f"{path}, line 1: expected one of the columns {', '.join(found)}")
    return found[0] if found else names[0]


def _label(where: str, column: str, text: str) -> str | None:
    if text in EMPTY_CELLS:
        raise AnnotationInvalid(
            f"{where}, {column}: expected a label or an empty cell, got {text!r}"
        )
    return intern(text) if text else None


def _read_text(path: Path) -> tuple[list[str], Iterator[tuple[int, Cells]]]:
    """The header and the rows of a CSV or TSV file."""
    delimiter, header = read_header(path, DELIMITERS)
    rows = read_csv(path, (), delimiter=delimiter)
    return header, rows if delimiter == "," else _with_decimal_points(rows)


def _with_decimal_points(rows: Iterator[tuple[int, Cells]]) -> Iterator[tuple[int, Cells]]:
    """The rows with seconds such as `1,5`, which no comma parts from the next cell, as `1.5`."""
    bounds = (*START, *END)
    for line, row in rows:
        yield line, {n: c.replace(",", ".") if n in bounds else c for n, c in row.items()}


def _read_parquet(path: Path) -> tuple[list[str], Iterator[tuple[str, Cells]]]:
    """The header and the rows of a Parquet file, with values as CSV would have them."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise AnnotationInvalid(
            f"{path}: reading Parquet needs pyarrow: pip install pyarrow, or save the table as CSV"
        ) from error

    @contextmanager
    def translated() -> Iterator[None]:
        try:
            yield
        except (ArrowException, OSError) as error:
            raise AnnotationInvalid(f"{path}: cannot be read as Parquet: {error}") from error

    with translated():
        file = parquet.ParquetFile(path)
    if file.metadata.num_rows > MAX_ROWS:
        raise AnnotationInvalid(f"{path}: has more than {MAX_ROWS} rows, the limit")
    header = [str(name) for name in file.schema_arrow.names]

    def rows() -> Iterator[tuple[str, Cells]]:
        number = 0
        with translated():
            for batch in file.iter_batches():
                columns = [map(_text, column.to_pylist()) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield f"row {number}", dict(zip(header, cells, strict=True))

    return header, rows()


def _text(value: Any) -> str:
    """A value as a cell of CSV has it; whole numbers without a decimal point."""
    if value is None:
        return ""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value).strip()
