import numpy as np
import pytest

from model.train.new_skill.gains import Cell, format_gains, gain


def make_cell(seed=0, *, draws=20, videos=15, better=2, effect_of_video=0.0):
    generator = np.random.default_rng(seed)
    head = generator.integers(8, 13, (draws, videos))
    noise = generator.integers(-1, 2, (draws, videos))
    of_video = np.round(effect_of_video * generator.standard_normal(videos)).astype(int)
    return Cell({"head": head, "auto": head + better + noise + of_video}, np.full(videos, 20), 12)


def test_a_gain_is_the_mean_difference_and_its_interval_covers_it():
    cell = make_cell()
    mean, bounds = gain([cell], "auto")
    assert mean == pytest.approx(cell.accuracy("auto") - cell.accuracy("head"))
    assert 0 < bounds.low < mean < bounds.high


def test_videos_that_differ_widen_the_interval_as_their_variance_says():
    cell = make_cell(effect_of_video=4.0)
    _, bounds = gain([cell], "auto")
    of_video = (cell.right["auto"] - cell.right["head"]).mean(axis=0) / 20
    expected = 2 * 1.96 * of_video.std() / np.sqrt(15)
    assert bounds.high - bounds.low == pytest.approx(expected, rel=0.2)


def test_the_same_answers_gain_nothing_for_sure():
    cell = make_cell()
    mean, bounds = gain(
        [Cell({"head": cell.right["head"], "auto": cell.right["head"]}, cell.samples, 3)], "auto"
    )
    assert (mean, *bounds) == (0, 0, 0)


def test_a_method_of_fewer_draws_is_compared_on_those():
    cell = make_cell()
    cell.right["egopack"] = cell.right["head"][:3] + 1
    assert gain([cell], "egopack")[0] == pytest.approx(1 / 20)
    assert gain([make_cell(draws=1)], "auto")[1] is None


def test_the_table_has_a_row_a_number_and_the_mean_of_the_tasks():
    cells = {name: {1: make_cell(i), 5: make_cell(i + 9)} for i, name in enumerate(("a", "b"))}
    table = format_gains(cells, "test").splitlines()
    assert table[0] == "| test | labels a class (all) | head | auto |"
    assert [row.split("|")[1].strip() for row in table[2:]] == [
        "a",
        "a",
        "b",
        "b",
        "**mean**",
        "**mean**",
    ]
    joint = gain([cells["a"][1], cells["b"][1]], "auto")[0]
    assert f"{joint:+.3f} [" in table[6]
    assert joint == pytest.approx(np.mean([gain([cells[t][1]], "auto")[0] for t in "ab"]))
