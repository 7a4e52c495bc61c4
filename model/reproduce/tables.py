"""Scores of many methods and seeds -> tables of means and standard deviations."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from model.methods import LABELS, Part, parts_of
from model.reproduce.jobs import Score
from model.reproduce.paper import METRICS, PAPER, SUBSETS, aggregate

Column = tuple[str, str]
"""Task and metric."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        label: as the paper names it.
        values: column -> one figure a seed.
        paper: the paper's figures, in the order of `METRICS`.
    """

    label: str
    values: dict[Column, list[float]]
    paper: tuple[float | None, ...] = (None,) * len(METRICS)


def rows_of(
    scores: Sequence[Score], parts: Sequence[Part], split: str
) -> dict[Column, list[float]]:
    """Returns one method's figures, column -> a figure for every seed that has one."""
    values: dict[Column, list[float]] = {}
    for score in scores:
        if score.part not in parts:
            continue
        for task, metrics in score.metrics.get(split, {}).items():
            for column in METRICS:
                if column[0] == task:
                    values.setdefault(column, []).append(metrics[column[1]])
    return values


def method_rows(scores: Sequence[Score], methods: Sequence[str], split: str) -> list[Row]:
    """Returns Tables 1, 4 and 6: one row a method."""
    empty = (None,) * len(METRICS)
    found = [
        Row(LABELS[m], rows_of(scores, parts_of(m), split), PAPER.get(m, empty)) for m in methods
    ]
    return [row for row in found if row.values]


def subset_rows(scores: Sequence[Score], split: str) -> list[Row]:
    """Returns Table 7: multi-task models of two and three tasks."""
    rows = []
    for tasks, paper in SUBSETS.items():
        values = rows_of(scores, [Part("mtl", tasks)], split)
        if values:
            rows.append(Row(" + ".join(t.upper() for t in tasks), values, paper))
    return rows


def aggregates(
    scores: Sequence[Score], methods: Sequence[str], split: str
) -> dict[str, list[float]]:
    """Returns Table 2: method -> its average over all metrics, one a seed."""
    found: dict[str, list[float]] = {}
    for method in methods:
        values = rows_of(scores, parts_of(method), split)
        seeds = {len(figures) for figures in values.values()}
        if len(values) == len(METRICS) and len(seeds) == 1:
            found[method] = [
                aggregate({c: figures[i] for c, figures in values.items()})
                for i in range(seeds.pop())
            ]
    return found


def format_rows(title: str, rows: Sequence[Row], *, with_paper: bool) -> str:
    """Returns a Markdown table: mean ± standard deviation over seeds, best mean in bold."""
    best = {c: _best(c, rows) for c in METRICS}
    lines = [f"| {title} | {' | '.join(METRICS.values())} |", "|---|" + "---:|" * len(METRICS)]
    for row in rows:
        cells = [
            _cell(row.values.get(column), best[column], row.paper[i] if with_paper else None)
            for i, column in enumerate(METRICS)
        ]
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_aggregates(found: dict[str, list[float]]) -> str:
    """Returns Table 2 as Markdown: the average and its gain over the first method."""
    lines = ["| method | metrics average ↑ | over the first |", "|---|---:|---:|"]
    base = mean(next(iter(found.values()))) if found else 1.0
    for method, values in found.items():
        gain = 100 * (mean(values) / base - 1)
        lines.append(f"| {LABELS[method]} | {_spread(values)} | {gain:+.2f} % |")
    return "\n".join(lines)


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """Writes every figure as CSV: method, change, tasks, seed, split, task, metric, value."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["method", "change", "trained on", "seed", "split", "task", "metric", "value"]
        )
        for score in scores:
            change = " ".join(f"{field}={value}" for field, value in score.part.change)
            about = [score.part.kind, change, "+".join(score.part.tasks), score.seed]
            for split, tasks in score.metrics.items():
                for task, metrics in tasks.items():
                    writer.writerows(
                        [*about, split, task, m, f"{v:.6g}"] for m, v in metrics.items()
                    )
    part.replace(path)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def _best(column: Column, rows: Sequence[Row]) -> float:
    means = [mean(row.values[column]) for row in rows if row.values.get(column)]
    if not means:
        return float("nan")
    return max(means) if METRICS[column].endswith("↑") else min(means)


def _cell(values: list[float] | None, best: float, paper: float | None) -> str:
    if not values:
        return "–"
    text = _spread(values)
    text = f"**{text}**" if mean(values) == best else text
    return text if paper is None else f"{text} (paper {paper:g})"
