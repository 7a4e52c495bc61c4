"""Exhibit of a hyper-parameter sweep (Fig. 4), from a CSV of figures."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import ModelError
from model.evaluate.report.confusion import Row
from model.evaluate.report.exhibits import ReportItem
from model.evaluate.report.figures import sweep_figure
from model.evaluate.tables import arrow

PARAMETERS = {
    "k": "neighbours k (0: MTL + FT)",
    "depth": "interaction layers",
}


def read_sweep(path: Path) -> list[Row]:
    """Returns the lines of a CSV with the columns k or depth, task, metric, value and std.

    An optional column "method" separates curves; an empty std is zero.

    Raises:
        ModelError: a column is missing, or a value is no number.
    """
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = list(lines[0]) if lines else []
    parameter = next((name for name in PARAMETERS if name in found), None)
    missing = {"task", "metric", "value", "std"} - set(found)
    if parameter is None or missing:
        raise ModelError(
            f"{path}: expected the columns {' or '.join(PARAMETERS)}, task, metric, value, std; "
            f"found {', '.join(found) or 'no line'}"
        )
    try:
        return [
            {
                parameter: float(line[parameter]),
                "method": line.get("method") or "",
                "task": line["task"],
                "metric": line["metric"],
                "value": float(line["value"]),
                "std": float(line["std"] or 0),
            }
            for line in lines
        ]
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def sweep_exhibit(rows: Sequence[Row]) -> ReportItem:
    """Returns the exhibit of lines as `read_sweep` gives them: one panel per task and metric."""
    parameter = next(name for name in PARAMETERS if name in rows[0])
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for row in rows:
        panel = panels.setdefault(f"{row['task']} {row['metric']} {arrow(str(row['metric']))}", {})
        point = (_float(row[parameter]), _float(row["value"]), _float(row["std"]))
        panel.setdefault(str(row.get("method", "")), []).append(point)
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {
        title: {method: np.array(sorted(points)) for method, points in series.items()}
        for title, series in panels.items()
    }
    return ReportItem(
        f"sweep-{parameter}",
        "Ablations",
        f"Metrics over {parameter}",
        "Mean over seeds; bars are one standard deviation (Fig. 4).",
        list(rows),
        sweep_figure(drawn, x=PARAMETERS[parameter]),
        large=True,
    )


def _float(value: str | int | float | None) -> float:
    return float(value or 0)
