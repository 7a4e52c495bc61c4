from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.evaluate.paper import METRICS
from model.train.methods.trainer import ALL_TASKS, LABELS, parts_of
from model.train.reproduce.differences import difference_table, find_differences, summarise
from model.train.reproduce.jobs import Score

VIDEOS, EACH, SEEDS = 30, 8, 3
GROUPS = np.repeat(np.arange(VIDEOS), EACH)
METHODS = ["mtl", "mtl-ft", "egopack"]


@pytest.fixture(scope="module")
def samples():
    task = SimpleNamespace(video_offset=torch.from_numpy(1000 * GROUPS))
    return {split: dict.fromkeys(ALL_TASKS, task) for split in ("train", "test")}


@pytest.fixture(scope="module")
def difficulty():
    """What the videos do to every method alike, far more than methods differ."""
    return np.random.default_rng(1).normal(0, 1, VIDEOS)[GROUPS]


def scores_of(method, values):
    """Scores of a method whose value per sample in every column is `values(seed)`."""
    return [
        Score(part, seed, {}, {"test": {t: dict.fromkeys(metrics_of(t), values(seed))
                                        for t in part.tasks}})
        for part in parts_of(method)
        for seed in range(SEEDS)
    ]  # fmt: skip


def metrics_of(task):
    return [metric for of, metric in METRICS if of == task]


def all_scores(difficulty, gains):
    """Scores of the methods named, each better or worse than the videos' difficulty by a gain."""
    g = np.random.default_rng(2)
    return [
        score
        for method, gain in gains.items()
        for score in scores_of(
            method, lambda _, gain=gain: difficulty + gain + g.normal(0, 0.02, len(difficulty))
        )
    ]


def test_a_small_gain_in_all_videos_is_real_though_videos_differ_far_more(samples, difficulty):
    scores = all_scores(difficulty, {"mtl": 0.0, "mtl-ft": 0.0, "egopack": 0.01})
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    ours = {d.column: d for d in found if (d.method, d.reference) == ("egopack", "mtl-ft")}
    assert set(ours) == set(METRICS)
    for column, difference in ours.items():
        assert difference.is_real
        assert difference.bounds.low < difference.value < difference.bounds.high
        assert difference.value == pytest.approx(0.01, abs=0.004)
        assert difference.is_better == METRICS[column].endswith("↑")


def test_a_method_does_not_differ_from_one_of_the_same_answers(samples, difficulty):
    scores = scores_of("mtl", lambda seed: difficulty + seed)
    scores += scores_of("mtl-ft", lambda seed: difficulty + seed)
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    assert {(d.value, d.bounds, d.is_real) for d in found} == {(0.0, (0.0, 0.0), False)}
    text = summarise(found, "test")
    assert "On test, 0 of 12 differences are real" in text
    assert "over videos and 3 seeds" in text


def test_a_single_seed_is_said(samples, difficulty):
    scores = [s for s in all_scores(difficulty, {"mtl": 0.0, "mtl-ft": 0.1}) if s.seed == 0]
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    assert "over videos, with a single seed" in summarise(found, "test")


def test_what_only_some_seeds_gain_is_not_real(samples, difficulty):
    """Each seed alone would make a difference of its own."""
    scores = scores_of("mtl", lambda _: difficulty)
    scores += scores_of("mtl-ft", lambda seed: difficulty + (0.02, -0.02, 0.01)[seed])
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    assert len(found) == 12
    assert not any(d.is_real for d in found)


def test_samples_without_a_label_count_nowhere(samples, difficulty):
    hidden = np.where(np.arange(len(difficulty)) % 3 == 0, np.nan, 0.0)
    scores = scores_of("mtl", lambda _: difficulty + hidden)
    scores += scores_of("egopack", lambda _: difficulty + hidden + GROUPS / 100)
    found = [
        d for d in find_differences(scores, METHODS, ALL_TASKS, samples) if d.reference == "mtl"
    ]
    kept = GROUPS[np.arange(len(GROUPS)) % 3 != 0]
    assert [d.value for d in found] == pytest.approx([kept.mean() / 100] * len(METRICS))


def test_a_method_that_was_not_trained_for_a_task_has_no_difference_there(samples, difficulty):
    scores = all_scores(difficulty, {"mtl": 0.0, "egopack": 0.1})
    scores = [s for s in scores if s.part.kind == "mtl" or s.part.tasks == ("pnr",)]
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    assert [(d.method, d.column) for d in found] == [("egopack", ("pnr", "error_s"))]
    (line,) = difference_table(found, "test", "mtl").lines
    assert [cell.text for cell in line[:2]] == ["EgoPack", "–"]


def test_the_table_marks_and_the_sentence_lists_what_is_real(samples, difficulty):
    scores = all_scores(difficulty, {"mtl": 0.0, "mtl-ft": 0.0, "egopack": 0.5})
    found = find_differences(scores, METHODS, ALL_TASKS, samples)
    lines = difference_table(found, "test", "mtl").lines
    assert [[cell.is_best for cell in line] for line in lines] == [
        [False, *[d.is_real for d in found if (d.reference, d.method) == ("mtl", method)]]
        for method in ("mtl-ft", "egopack")
    ]
    assert all(cell.is_best for cell in lines[1][1:])
    text = summarise(found, "test")
    better, worse = (text.split(f"{word} than MTL + FT: ")[1].split(" Worse")[0]
                     for word in ("Better", "Worse"))  # fmt: skip
    assert better.startswith("EgoPack (AR verb +0.")
    assert "OSCC" in better
    assert "PNR" not in better
    assert worse.startswith("EgoPack (LTA verb ED +0.")
    assert text.endswith("(real).")
    assert "EgoPack over MTL + FT: AR verb +0." in text


def test_it_is_said_that_egopack_gains_nothing_where_it_does_not(samples, difficulty):
    scores = scores_of("mtl-ft", lambda _: difficulty) + scores_of("egopack", lambda _: difficulty)
    text = summarise(find_differences(scores, METHODS, ALL_TASKS, samples), "test")
    assert text.count("+0.000 [+0.000, +0.000] (not real)") == len(METRICS)
    assert "Better than MTL + FT: none. Worse than MTL + FT: none." in text


def test_one_video_gives_a_difference_and_no_interval(difficulty):
    task = SimpleNamespace(video_offset=torch.zeros(len(difficulty), dtype=torch.long))
    scores = all_scores(difficulty, {"mtl": 0.0, "egopack": 0.5})
    found = find_differences(
        scores, list(LABELS), ALL_TASKS, {"test": dict.fromkeys(ALL_TASKS, task)}
    )
    assert {(d.bounds, d.is_real) for d in found} == {(None, False)}
    assert found[0].row()["low"] is None
    assert str(found[0]).startswith("+0.5")
