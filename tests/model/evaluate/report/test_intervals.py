import numpy as np
import pytest

from model.evaluate.report import intervals
from model.evaluate.report.intervals import interval, paired_interval, resampled_means


def test_two_groups_give_the_three_means_there_are_as_often_as_they_should():
    values = np.array([0.0, 0.0, 0.0, 1.0])
    groups = np.array([7, 7, 7, 2])  # means 0 and 1; together 1/4
    means = resampled_means(values, groups, draws=8000, seed=0)
    shares = {m: float((means == m).mean()) for m in (0.0, 0.25, 1.0)}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx({0.0: 0.25, 0.25: 0.5, 1.0: 0.25}, abs=0.02)


def test_it_agrees_with_a_loop_over_draws():
    g = np.random.default_rng(3)
    values, groups = g.random(50), g.integers(0, 8, 50)
    picks = np.random.default_rng(5).integers(len(np.unique(groups)), size=(40, 8))
    kinds = np.unique(groups)
    naive = [np.concatenate([values[groups == kinds[p]] for p in line]).mean() for line in picks]
    np.testing.assert_allclose(resampled_means(values, groups, draws=40, seed=5), naive)


def clustered(g, groups=30, size=10, *, spread=1.0):
    """Values that share a part within their group; their true mean is 0."""
    shared = g.normal(0, spread, (groups, 1))
    return (shared + g.normal(0, 0.5, (groups, size))).ravel(), np.repeat(np.arange(groups), size)


def test_95_of_100_intervals_hold_the_truth_and_far_fewer_if_samples_pass_for_independent():
    g = np.random.default_rng(1)
    held = {"groups": 0, "samples": 0}
    for _ in range(300):
        values, groups = clustered(g)
        for name, who in (("groups", groups), ("samples", np.arange(len(values)))):
            low, high = interval(values, who, draws=300)
            held[name] += low <= 0 <= high
    assert 0.89 <= held["groups"] / 300 <= 0.99
    assert held["samples"] / 300 < 0.7


def test_the_interval_holds_the_mean_and_narrows_with_more_groups():
    g = np.random.default_rng(2)
    few, many = (clustered(g, n) for n in (20, 500))
    widths = []
    for values, groups in (few, many):
        low, high = interval(values, groups)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_one_group_has_no_interval_and_equal_values_one_of_no_width():
    assert interval(np.array([0.0, 1.0]), np.array([4, 4])) is None
    assert interval(np.full(6, 0.5), np.arange(6)) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_interval_whatever_is_held_at_once(monkeypatch):
    values, groups = clustered(np.random.default_rng(4))
    first = interval(values, groups, seed=9)
    assert interval(values, groups, seed=8) != first
    monkeypatch.setattr(intervals, "_CHUNK", 64)
    assert interval(values, groups, seed=9) == first


def test_the_order_of_samples_and_the_names_of_groups_do_not_matter():
    values, groups = clustered(np.random.default_rng(4))
    order = np.random.default_rng(0).permutation(len(values))
    assert interval(values[order], groups[order] * 17) == pytest.approx(interval(values, groups))


def test_a_paired_interval_agrees_with_a_loop_over_draws_of_videos_and_seeds():
    g = np.random.default_rng(6)
    gaps, groups = g.normal(size=(3, 60)), g.integers(0, 9, 60)
    kinds, draws = np.unique(groups), 50
    videos = np.random.default_rng(4).integers(len(kinds), size=(draws, len(kinds)))
    seeds = np.random.default_rng([4, 1]).integers(3, size=(draws, 3))
    naive = [
        np.mean(
            [np.concatenate([gaps[s, groups == kinds[v]] for v in picked]).mean() for s in some]
        )
        for picked, some in zip(videos, seeds, strict=True)
    ]
    found = paired_interval(gaps, groups, draws=draws, seed=4)
    np.testing.assert_allclose(found, np.quantile(naive, [0.025, 0.975]))


def test_an_interval_is_of_the_quantiles_of_resampled_means():
    values, groups = clustered(np.random.default_rng(4))
    means = resampled_means(values, groups, draws=2000, seed=3)
    assert interval(values, groups, seed=3) == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_95_of_100_paired_intervals_hold_the_truth_and_they_narrow_with_more_videos():
    g = np.random.default_rng(7)
    held, widths = 0, {20: 0.0, 180: 0.0}
    for _ in range(100):
        for videos in widths:
            gaps, groups = clustered(g, videos, spread=0.3)
            low, high = paired_interval(gaps + g.normal(0, 0.5, (3, len(gaps))), groups, draws=300)
            widths[videos] += high - low
            held += low <= 0 <= high
    assert 0.89 <= held / 200 <= 0.99
    assert widths[180] < widths[20] / 2


def test_a_method_against_itself_has_an_interval_of_no_width_and_one_video_none():
    assert paired_interval(np.zeros((3, 12)), np.arange(12) // 3) == (0.0, 0.0)
    assert paired_interval(np.ones((3, 12)), np.zeros(12, int)) is None
