"""Report folder of a run: metrics.json, tables as CSV, figures as PNG and report.html."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from model.evaluate.report.confusion import Row
from model.evaluate.report.figures import to_png
from model.evaluate.report.page import RunFacts, render
from model.evaluate.report.results import SplitResult
from weights.storage.atomic import write_atomic

T = TypeVar("T")
_FORMULA = tuple("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def write_report(
    folder: Path,
    facts: RunFacts,
    splits: Sequence[SplitResult],
    *,
    progress: Callable[[], object] | None = None,
) -> Path:
    """Writes all files, the page last, and returns the page's path.

    Args:
        folder: created if missing; `SPLIT/NAME.csv` and `SPLIT/NAME.png` go under it.
        facts: of the run.
        splits: in order.
        progress: called after every exhibit.
    """
    pictures = {}
    for split in splits:
        write_csv(folder / split.split / "metrics.csv", split.rows())
        for exhibit in split.exhibits:
            place = folder / split.split / exhibit.name
            write_csv(place.with_name(f"{exhibit.name}.csv"), exhibit.rows)
            if exhibit.figure:
                image = to_png(exhibit.figure)
                write_atomic(place.with_name(f"{exhibit.name}.png"), image)
                pictures[f"{split.split}/{exhibit.name}"] = image
            if progress:
                progress()
    document = {"run": asdict(facts), "splits": {s.split: s.to_dict() for s in splits}}
    write_json(folder / "metrics.json", document)
    page = folder / "report.html"
    write_atomic(page, render(facts, splits, pictures))
    return page


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows with the same keys as CSV with a header; None is an empty cell.

    Text that a spreadsheet would compute, such as a label of `=1+1`, is marked as text by `'`.
    """
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, [_cell(key) for key in rows[0]], lineterminator="\n")
        table.writeheader()
        table.writerows({_cell(key): _cell(value) for key, value in row.items()} for row in rows)
    write_atomic(path, text.getvalue())


def write_json(path: Path, value: object) -> None:
    """Writes JSON with sorted keys; NaN is an error."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text + "\n")


def _cell(value: T) -> T | str:
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    # A lone \r is not quoted by the csv module, and ends a line for others.
    return ("'" if is_formula else "") + value.replace("\r", " ")
