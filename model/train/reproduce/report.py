"""Report of a reproduction: tables.md, scores.csv, figures and one HTML page."""

from collections.abc import Sequence
from pathlib import Path

from model.config import ModelConfig
from model.data.task_samples import Enumeration
from model.evaluate.report.exhibits import ReportItem
from model.evaluate.report.figures import to_png
from model.evaluate.report.page import render_tables
from model.evaluate.report.sweep import sweep_exhibit
from model.evaluate.report.write import write_csv
from model.train.reproduce.jobs import Score
from model.train.reproduce.tables import (
    Table,
    aggregate_table,
    method_table,
    score_rows,
    subset_table,
    sweep_rows,
)
from weights.storage.atomic import write_atomic

SPLITS = ("val", "test")
SWEPT = ("num_neighbours", "interaction_layers")


def build_tables(
    scores: Sequence[Score],
    methods: Sequence[str],
    tasks: tuple[str, ...],
    *,
    with_paper: bool,
    lta_windows: Enumeration,
) -> list[Table]:
    """Returns the tables that have a row, val before test; the paper's figures are of val.

    Args:
        scores: of all trainings.
        methods: one row each.
        tasks: all that were trained.
        with_paper: adds the paper's figures, LTA's only for the same windows.
        lta_windows: of the scores.
    """
    tables = []
    for split in SPLITS:
        paper = with_paper and split == "val"
        tables += [
            method_table(scores, methods, tasks, split, with_paper=paper, lta_windows=lta_windows),
            aggregate_table(scores, methods, split),
            subset_table(scores, split, with_paper=paper, lta_windows=lta_windows),
        ]
    return [table for table in tables if table.lines]


def build_sweeps(scores: Sequence[Score], config: ModelConfig) -> list[ReportItem]:
    """Returns Fig. 4, on val: metrics over neighbours and over interaction layers."""
    sweeps = []
    for parameter in SWEPT:
        if any(parameter in dict(score.part.change) for score in scores):
            default = int(getattr(config, parameter))
            sweeps.append(sweep_exhibit(sweep_rows(scores, parameter, default, "val")))
    return sweeps


def write_reproduction(
    folder: Path,
    scores: Sequence[Score],
    tables: Sequence[Table],
    sweeps: Sequence[ReportItem],
    *,
    facts: Sequence[str],
    note: str,
) -> None:
    """Writes all files into a folder, the page that links them last.

    Args:
        folder: created if need be.
        scores: for scores.csv.
        tables: for tables.md and the page.
        sweeps: figures of the ablations, each with its CSV.
        facts: lines on data and seeds.
        note: caveat at the top.
    """
    write_csv(folder / "scores.csv", score_rows(scores))
    text = "\n\n".join([*facts, *([note] if note else []), *(t.to_markdown() for t in tables)])
    write_atomic(folder / "tables.md", text + "\n")
    pictures = {}
    for sweep in sweeps:
        write_csv(folder / f"{sweep.name}.csv", sweep.rows)
        if sweep.figure:
            pictures[sweep.name] = to_png(sweep.figure)
            write_atomic(folder / f"{sweep.name}.png", pictures[sweep.name])
    page = render_tables("Methods side by side", facts, note, tables, sweeps, pictures)
    write_atomic(folder / "report.html", page)
