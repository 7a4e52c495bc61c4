import csv
from statistics import mean, stdev

import pytest

from model.methods import LABELS, Part, needs_of, parts_of
from model.reproduce.jobs import Job, Score, plan_jobs
from model.reproduce.paper import METRICS, PAPER, aggregate
from model.reproduce.tables import (
    aggregates,
    format_rows,
    method_rows,
    subset_rows,
    write_scores,
)


def score_of(part, seed, figures):
    """A score whose metrics are the figures given, in the order of the paper's columns."""
    metrics = {}
    for (task, metric), value in zip(METRICS, figures, strict=True):
        if task in part.tasks:
            metrics.setdefault(task, {})[metric] = value
    return Score(part, seed, {"val": metrics})


def scores_of(method, per_seed):
    return [score_of(p, s, f) for s, f in enumerate(per_seed) for p in parts_of(method)]


def test_a_row_holds_mean_and_deviation_over_seeds():
    seeds = [
        (0.2, 0.3, 0.7, 0.8, 0.7, 0.5),
        (0.3, 0.3, 0.8, 0.8, 0.6, 0.4),
        (0.7, 0.3, 0.9, 0.8, 0.5, 0.3),
    ]
    rows = method_rows(scores_of("egopack", seeds), ["egopack"], "val")
    text = format_rows("val", rows, with_paper=False)
    for column in zip(*seeds, strict=True):
        assert f"{mean(column):.3f} ± {stdev(column):.3f}" in text
    assert "paper" not in text


def test_the_papers_figures_stand_beside_ours_when_asked_for():
    rows = method_rows(scores_of("mlp", [(0.2,) * 6]), ["mlp"], "val")
    text = format_rows("val", rows, with_paper=True)
    assert all(f"(paper {figure:g})" in text for figure in PAPER["mlp"])


def test_the_best_of_each_column_is_bold_whichever_way_is_better():
    scores = scores_of("mlp", [(0.2, 0.2, 0.2, 0.2, 0.2, 0.2)]) + scores_of("tt", [(0.3,) * 6])
    lines = format_rows(
        "x", method_rows(scores, ["mlp", "tt"], "val"), with_paper=False
    ).splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]
    assert [["**" in c for c in row[1:]] for row in cells] == [
        [False, False, False, True, True, True],
        [True, True, True, False, False, False],
    ]


def test_the_aggregate_gives_the_papers_own_averages():
    """Table 2, from Table 1 and Table 6."""
    told = {
        "mlp": 0.416,
        "temporal": 0.433,
        "tt": 0.431,
        "mtl": 0.430,
        "mtl-ft": 0.437,
        "egopack": 0.441,
    }
    for method, figure in told.items():
        assert aggregate(dict(zip(METRICS, PAPER[method], strict=True))) == pytest.approx(
            figure, abs=1.5e-3
        )


def test_an_aggregate_needs_every_metric_of_every_seed():
    whole = scores_of("egopack", [(0.2, 0.3, 0.7, 0.8, 0.7, 0.5)])
    assert set(aggregates(whole, list(LABELS), "val")) == {"egopack"}
    assert aggregates(whole[:-1], list(LABELS), "val") == {}


def test_subsets_show_only_what_was_trained():
    pair = Part("mtl", ("ar", "oscc"))
    rows = subset_rows([score_of(pair, 0, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))], "val")
    (row,) = rows
    assert row.label == "AR + OSCC"
    assert set(row.values) == {("ar", "verb_top1"), ("ar", "noun_top1"), ("oscc", "accuracy")}


def test_every_figure_is_written_and_read_back(tmp_path):
    scores = scores_of("mtl", [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.2,) * 6])
    write_scores(scores, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {(r["seed"], r["task"], r["metric"]): float(r["value"]) for r in rows}[
        ("0", "pnr", "error_s")
    ] == 0.6


def test_jobs_come_after_what_they_need_each_once_a_seed():
    jobs = plan_jobs([p for m in LABELS for p in parts_of(m)], range(2))
    assert len(set(jobs)) == len(jobs)
    for job in jobs:
        before = {(j.part, j.seed) for j in jobs[: jobs.index(job)]}
        assert {(need, job.seed) for need in needs_of(job.part)} <= before
    assert Job(Part("backpack", ("ar", "lta", "oscc", "pnr")), 0, False) in jobs
