"""Rows of labels as values, of JSON or the text of a CSV file: every error with its place.

Of classification tasks only. Nothing here reads features, so that a request can be refused at once.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model.data.tables.label_file import (
    CellInvalid,
    LabelRow,
    assign_splits,
    label_names,
    parse_row,
)
from model.errors import AnnotationInvalid, LabelsInvalid
from model.nodes import TOLERANCE_S

MOST_ERRORS = 20
"""That are listed."""

COLUMNS = ("video", "start_s", "end_s", "label")
ROOT = "/labels"

Spans = Mapping[str, tuple[float, float]]
"""Video -> when it begins and ends, in seconds on its container's clock."""

Place = Callable[[int, str], str]
"""(line, column) of a row -> its place in what the caller sent."""


def json_place(line: int, column: str) -> str:
    """Returns the JSON pointer of a cell; `line` is the row's index."""
    return f"{ROOT}/{line}/{column}" if column else f"{ROOT}/{line}"


def csv_place(line: int, column: str) -> str:
    """Returns a line of a CSV file."""
    return f"line {line}"


def rows_from_json(values: Any, *, labels: Sequence[str] | None = None) -> list[LabelRow]:
    """Returns the rows of a JSON list; a row's `line` is its index.

    Args:
        values: a list of objects with video, start_s, end_s, label and, if wanted, split.
        labels: allowed labels; None allows any.

    Raises:
        LabelsInvalid: it is no such list; names every wrong cell, up to `MOST_ERRORS`.
    """
    if not isinstance(values, list) or not values:
        raise LabelsInvalid([(ROOT, f"expected a list of one or more labels, got {values!r:.80}")])

    def parse(index: int, value: Any) -> LabelRow:
        return parse_row(index, _cells(value), "label", labels)

    return _collected(enumerate(values), parse, json_place)


def rows_from_csv(text: str, *, labels: Sequence[str] | None = None) -> list[LabelRow]:
    """Returns the rows of a labels file's text.

    Args:
        text: CSV with a header, as `read_labels` reads it.
        labels: allowed labels; None allows any.

    Raises:
        LabelsInvalid: it is not; names every wrong line, up to `MOST_ERRORS`.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)

    def numbered() -> Iterator[tuple[int, Any]]:
        try:
            for values in reader:
                yield reader.line_num, values
        except csv.Error as error:
            place = f"line {reader.reader.line_num}"  # its own counts rows that were read
            raise LabelsInvalid([(place, f"not CSV: {error}")]) from error

    def parse(line: int, values: Any) -> LabelRow:
        return parse_row(line, values, "label", labels)

    try:
        found = list(reader.fieldnames or ())
    except csv.Error as error:
        raise LabelsInvalid([("line 1", f"not CSV: {error}")]) from error
    if set(found) - {"split"} != set(COLUMNS) or len(set(found)) != len(found):
        shown = ", ".join(found) or "nothing"
        needed = f"expected the columns {', '.join(COLUMNS)} and, if wanted, split"
        raise LabelsInvalid([("line 1", f"{needed}; got {shown:.200}")])
    rows = _collected(numbered(), parse, csv_place)
    if not rows:
        raise LabelsInvalid([("line 2", "no rows below the header")])
    return rows


def rows_to_json(rows: Sequence[LabelRow]) -> list[dict[str, Any]]:
    """Returns rows as `rows_from_json` takes them."""
    return [
        {column: getattr(row, column) for column in COLUMNS}
        | ({"split": row.split} if row.split else {})
        for row in rows
    ]


def with_splits(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Returns rows with their splits: train for those without one.

    Raises:
        AnnotationInvalid: there is no row for train.
    """
    named = [replace(row, split=row.split or "train") for row in rows]
    return assign_splits(named, seed=0, needs_val=False)


def check_labels(
    rows: Sequence[LabelRow],
    spans: Spans,
    *,
    labels: Sequence[str] | None = None,
    from_csv: bool = False,
) -> list[str]:
    """Checks rows against their videos and against each other; returns the label space.

    Args:
        rows: of `rows_from_json` or `rows_from_csv`.
        spans: of all videos that there are.
        labels: the label space; None takes all labels of the rows.
        from_csv: places are lines of a CSV file.

    Raises:
        LabelsInvalid: as `check_spans`, or a label has no training row, or there are fewer than
            two labels.
    """
    check_spans(rows, spans, from_csv=from_csv)
    if not rows:
        raise LabelsInvalid([(ROOT, "expected one or more labels, got none")])
    try:
        return label_names(with_splits(rows), labels)
    except AnnotationInvalid as error:
        raise LabelsInvalid([(ROOT, str(error))]) from error


def check_spans(rows: Sequence[LabelRow], spans: Spans, *, from_csv: bool = False) -> None:
    """Checks rows against their videos; see `check_labels`.

    Raises:
        LabelsInvalid: a video is not there, or a row lies outside its video.
    """
    place = csv_place if from_csv else json_place
    known = ", ".join(sorted(spans)) or "none"
    errors = [
        (place(row.line, "video"), f"expected one of {known:.200}, got {row.video!r:.80}")
        for row in rows
        if row.video not in spans
    ]
    if not errors:
        errors = [(place(r.line, column), m) for r, column, m in outside(rows, spans)]
    if errors:
        raise LabelsInvalid(errors[:MOST_ERRORS])


def outside(rows: Sequence[LabelRow], spans: Spans) -> Iterator[tuple[LabelRow, str, str]]:
    """Yields the rows that end before their video begins or after it ends, column and message."""
    for row in rows:
        first_s, last_s = spans[row.video]
        if not first_s < row.end_s <= last_s + TOLERANCE_S:
            message = (
                f"expected more than {first_s:.3f} and at most {last_s:.3f}, where {row.video} "
                f"begins and ends, got {row.end_s:g}"
            )
            yield row, "end_s", message


def _collected(
    values: Iterator[tuple[int, Any]], parse: Callable[[int, Any], LabelRow], place: Place
) -> list[LabelRow]:
    rows, errors = [], []
    for line, value in values:
        try:
            rows.append(parse(line, value))
        except CellInvalid as error:
            errors.append((place(line, error.column), str(error)))
            if len(errors) == MOST_ERRORS:
                break
    if errors:
        raise LabelsInvalid(errors)
    return rows


def _cells(value: Any) -> dict[str | None, str | None]:
    """A row of JSON as the text of its cells, each of the right type."""
    if not isinstance(value, dict):
        raise CellInvalid("", f"expected an object with {', '.join(COLUMNS)}, got {value!r:.80}")
    for key in value:
        if key not in (*COLUMNS, "split"):
            raise CellInvalid(key, f"no such field; there are {', '.join(COLUMNS)} and split")
    cells: dict[str | None, str | None] = {}
    for column in COLUMNS:
        found = value.get(column)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        wants_number = column.endswith("_s")
        if not (is_number if wants_number else isinstance(found, str)):
            expected = "a number of seconds" if wants_number else "text"
            raise CellInvalid(column, f"expected {expected}, got {found!r:.80}")
        cells[column] = str(found)
    if value.get("split") not in (None, ""):
        cells["split"] = str(value["split"])
    return cells
