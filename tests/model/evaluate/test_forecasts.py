"""Rows are scored like hypotheses anywhere, and differences are paired by window."""

import numpy as np
import torch

from model.data.sequences import ActionSequences
from model.evaluate.forecasts import (
    METRICS,
    ForecastRow,
    baseline_rows,
    differences,
    format_differences,
    format_rows,
    never_seen,
    plain_rows,
    sampled_rows,
    scored,
)
from model.evaluate.metrics import anticipation_errors
from model.forecast.baselines import PairCounts


def some(seed=0, num=30):
    generator = torch.Generator().manual_seed(seed)
    drawn = {n: torch.randint(0, 3, (num, 12, 6), generator=generator) for n in ("verb", "noun")}
    truth = {n: torch.randint(0, 3, (num, 6), generator=generator) for n in ("verb", "noun")}
    return drawn, truth


def test_a_way_that_samples_has_a_row_of_its_first_draws_and_one_of_a_set():
    drawn, truth = some()
    first, chosen = sampled_rows("ours", drawn, truth)
    assert (first.choice, chosen.choice) == ("independent", "set")
    own = anticipation_errors({n: v[:, :5] for n, v in drawn.items()}, truth)
    assert all((first.errors[m] == own[m]).all() for m in first.errors)
    assert not all((first.errors[m] == chosen.errors[m]).all() for m in first.errors)


def test_perfect_repetition_scores_zero():
    clips = ActionSequences.join([torch.tensor([[1, 0], [2, 1]] * 14)])
    windows = clips.windows(2, 6)
    future = windows.future(clips.ids, 6)
    truth = {"verb": future[..., 0], "noun": future[..., 1]}
    rows = baseline_rows(
        PairCounts(clips), clips.ids.unsqueeze(1), windows, truth, samples=8, seed=0, seen=" x"
    )
    names = [(row.name, row.choice) for row in rows]
    assert names == [
        ("most frequent", ""), ("draws by frequency", "independent"), ("draws by frequency", "set"),
        ("repeat x", ""), ("bigram x", "independent"), ("bigram x", "set"),
    ]  # fmt: skip
    repeated = rows[3].errors
    assert all((values == 0).all() for values in repeated.values())
    assert rows[0].errors["action_ed"].mean() >= 0.5


def row(name, choice, values):
    return ForecastRow(name, choice, {metric: np.asarray(values) for metric in METRICS})


def test_differences_are_means_over_windows_that_both_have_with_an_interval_by_video():
    groups = np.repeat(np.arange(10), 3)
    generator = np.random.default_rng(0)
    base = generator.random(30)
    rows = [
        row("other", "", base),
        row("ours", "independent", base - 0.1),
        row("ours", "set", np.where(np.arange(30) == 7, np.nan, base - 0.3)),
    ]
    found = {(d.first, d.second): d for d in differences(rows, groups, ours="ours")}
    assert set(found) == {("ours (set)", "ours (independent)"), ("ours (set)", "other")}
    gap = found["ours (set)", "other"]
    np.testing.assert_allclose([gap.mean, *gap.bounds], -0.3)
    text = format_differences("difference", list(found.values()))
    assert "| ours (set) − other | **-0.300 [-0.300, -0.300]** |" in text


def test_the_table_has_means_and_half_intervals_and_none_for_one_video():
    drawn, truth = some()
    rows = [scored("ours", {n: v[:, :5] for n, v in drawn.items()}, truth)]
    mean = rows[0].errors["verb_ed"].mean()
    assert f"| ours | – | {mean:.3f} ± 0.0" in format_rows("test", rows, np.arange(30))
    assert f"| ours | – | {mean:.3f} |" in format_rows("test", rows, np.zeros(30, dtype=np.int64))
    assert plain_rows(rows)[0]["verb_ed"] == mean


def test_steps_that_training_lacks_are_counted():
    counts = PairCounts(ActionSequences.join([torch.tensor([[1, 0], [2, 1]])]))
    futures = {"verb": torch.tensor([[[1, 2, 2]]]), "noun": torch.tensor([[[0, 0, 1]]])}
    assert never_seen(futures, counts) == (1, 3)
