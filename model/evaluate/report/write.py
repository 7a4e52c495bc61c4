"""Report folder of a run: metrics.json, tables as CSV, figures as PNG and report.html."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from model.evaluate.report.confusion import Row
from model.evaluate.report.figures import to_png
from model.evaluate.report.page import RunFacts, render
from model.evaluate.report.results import SplitResult
from weights.storage.atomic import write_atomic


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
    """Writes rows with the same keys as CSV with a header; None is an empty cell."""
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_atomic(path, text.getvalue())


def write_json(path: Path, value: object) -> None:
    """Writes JSON with sorted keys; NaN is an error."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text + "\n")
