from statistics import mean, stdev

import pytest

from model.evaluate.paper import METRICS, PAPER
from model.train.methods.trainer import ALL_TASKS, LABELS, Training, parts_of
from model.train.reproduce.jobs import Score
from model.train.reproduce.tables import (
    aggregate_table,
    method_table,
    score_rows,
    subset_table,
    sweep_rows,
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
    table = method_table(
        scores_of("egopack", seeds), ["egopack"], ALL_TASKS, "val", with_paper=False
    )
    text = table.to_markdown()
    for column in zip(*seeds, strict=True):
        assert f"{mean(column):.3f} ± {stdev(column):.3f}" in text
    assert "paper" not in text


def test_the_papers_figures_stand_beside_ours_when_asked_for():
    table = method_table(scores_of("mlp", [(0.2,) * 6]), ["mlp"], ALL_TASKS, "val", with_paper=True)
    text = table.to_markdown()
    assert all(f"(paper {figure:g})" in text for figure in PAPER["mlp"])


def test_of_other_windows_the_papers_anticipation_is_not_shown():
    scores = scores_of("mlp", [(0.2,) * 6])
    table = method_table(scores, ["mlp"], ALL_TASKS, "val", with_paper=True, lta_windows="current")
    shown = [f"(paper {figure:g})" in table.to_markdown() for figure in PAPER["mlp"]]
    assert shown == [True, True, True, False, False, True]


def test_the_best_of_each_column_is_bold_whichever_way_is_better():
    scores = scores_of("mlp", [(0.2, 0.2, 0.2, 0.2, 0.2, 0.2)]) + scores_of("tt", [(0.3,) * 6])
    lines = method_table(scores, ["mlp", "tt"], ALL_TASKS, "val", with_paper=False).lines
    assert [[cell.is_best for cell in line[1:]] for line in lines] == [
        [False, False, False, True, True, True],
        [True, True, True, False, False, False],
    ]


def test_an_aggregate_needs_every_metric_of_every_seed():
    whole = scores_of("egopack", [(0.2, 0.3, 0.7, 0.8, 0.7, 0.5)])
    (line,) = aggregate_table(whole, list(LABELS), "val").lines
    assert [cell.text for cell in line] == ["EgoPack", f"{2.575 / 6:.3f}", "+0.00 %"]
    assert aggregate_table(whole[:-1], list(LABELS), "val").lines == []


def test_subsets_show_only_what_was_trained():
    pair = Training("mtl", ("ar", "oscc"))
    score = score_of(pair, 0, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    (line,) = subset_table([score], "val", with_paper=False).lines
    assert [c.text for c in line] == ["AR + OSCC", "0.100", "0.200", "0.300", "–", "–", "–"]


def test_every_figure_is_in_the_long_table():
    rows = score_rows(scores_of("mtl", [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.2,) * 6]))
    assert len(rows) == 12
    found = {(r["seed"], r["task"], r["metric"]): r["value"] for r in rows}
    assert found[0, "pnr", "error_s"] == 0.6
    assert found[1, "lta", "verb_ed"] == 0.2


def test_a_sweep_joins_the_default_its_ablations_and_fine_tuning_as_no_neighbours():
    change = (("num_neighbours", 8),)
    scores = [
        score_of(Training(kind, ("pnr",), changed), seed, (0, 0, 0, 0, 0, value + seed))
        for kind, changed, value in (
            ("mtl-ft", (), 1.0),
            ("egopack", (), 2.0),
            ("egopack", change, 3.0),
        )
        for seed in (0, 1)
    ]
    rows = sweep_rows(scores, "num_neighbours", 4, "val")
    assert [(r["k"], r["value"]) for r in rows] == [(0, 1.5), (4, 2.5), (8, 3.5)]
    assert all(r["std"] == pytest.approx(2**-0.5) for r in rows)
    depths = sweep_rows(scores, "interaction_layers", 2, "val")
    assert [r["depth"] for r in depths] == [2]
