from fractions import Fraction
from functools import cache
from itertools import pairwise

import editdistance
import numpy as np
import pytest
import torch

from model.evaluate.metrics import (
    anticipation_errors,
    batch_mean,
    calibration_error,
    class_mean,
    edit_distance_curves,
    hits,
    keyframe_error_s,
    reliability,
)


def naive_levenshtein(a, b):
    """The textbook recursion, with memory."""

    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))


def draw_futures(seed):
    """M samples, K hypotheses, Z steps and an alphabet: all drawn, so every shape is met."""
    g = torch.Generator().manual_seed(seed)
    m, k, z = (int(torch.randint(1, top, (), generator=g)) for top in (5, 6, 21))
    symbols = int(torch.randint(1, 9, (), generator=g))
    sampled = {n: torch.randint(symbols, (m, k, z), generator=g) for n in ("verb", "noun")}
    truth = {n: torch.randint(symbols, (m, z), generator=g) for n in ("verb", "noun")}
    return sampled, truth


@pytest.mark.slow
@pytest.mark.parametrize("oracle", [editdistance.eval, naive_levenshtein])
def test_every_prefix_agrees_with_an_independent_edit_distance(oracle):
    compared = 0
    for seed in range(120 if oracle is naive_levenshtein else 1500):
        sampled, truth = (group["verb"] for group in draw_futures(seed))
        curves = edit_distance_curves(sampled, truth)
        for i, right in enumerate(truth.tolist()):
            for z in range(1, len(right) + 1):
                best = min(oracle(h[:z], right[:z]) for h in sampled[i].tolist())
                assert curves[i, z - 1] == best / z
                compared += 1
    assert compared > 2000


def test_a_transposition_costs_two():
    curves = edit_distance_curves(torch.tensor([[[1, 2]]]), torch.tensor([[2, 1]]))
    assert curves.tolist() == [[1.0, 1.0]]


def test_edit_distance_takes_the_best_hypothesis_over_the_length():
    sampled = torch.tensor([[[1, 1, 1, 1], [1, 2, 3, 9]]])
    errors = anticipation_errors({"verb": sampled}, {"verb": torch.tensor([[1, 2, 3, 4]])})
    assert errors["verb_ed"].tolist() == [0.25]


def test_each_prefix_may_have_another_best_hypothesis():
    # z = 1: the first is right; z = 3: the second misses one of three, the first two.
    sampled = torch.tensor([[[1, 8, 8], [9, 2, 3]]])
    curves = edit_distance_curves(sampled, torch.tensor([[1, 2, 3]]))
    np.testing.assert_allclose(curves, [[0, 1 / 2, 1 / 3]])


def test_area_under_the_curve_by_hand():
    # right, then wrong: ED@1 = 0, ED@2 = 1/2, ED@3 = 2/3 -> (0 + 1/2)/2 + (1/2 + 2/3)/2 over 2
    errors = anticipation_errors(
        {"verb": torch.tensor([[[1, 9, 9]]])}, {"verb": torch.tensor([[1, 2, 3]])}
    )
    assert errors["verb_aued"] == pytest.approx((0.25 + 7 / 12) / 2)


def test_an_action_pairs_the_kth_verbs_with_the_kth_nouns():
    # Each output has one hypothesis without a fault, but not the same one.
    verb = torch.tensor([[[1, 2], [1, 0]]])
    noun = torch.tensor([[[5, 0], [5, 6]]])
    truth = {"verb": torch.tensor([[1, 2]]), "noun": torch.tensor([[5, 6]])}
    errors = anticipation_errors({"verb": verb, "noun": noun}, truth)
    assert (errors["verb_ed"], errors["noun_ed"], errors["action_ed"]) == (0, 0, 0.5)


@pytest.mark.slow
def test_anticipation_agrees_with_the_official_loop():
    for seed in range(400):
        sampled, truth = draw_futures(10_000 + seed)
        errors = anticipation_errors(sampled, truth)
        pairs = {
            "verb": (sampled["verb"].tolist(), truth["verb"].tolist()),
            "noun": (sampled["noun"].tolist(), truth["noun"].tolist()),
            "action": (
                torch.stack([sampled["verb"], sampled["noun"]], dim=-1).tolist(),
                torch.stack([truth["verb"], truth["noun"]], dim=-1).tolist(),
            ),
        }
        for name, (hypotheses, right) in pairs.items():
            for i, (told, t) in enumerate(zip(hypotheses, right, strict=True)):
                curve = [
                    min(editdistance.eval([*map(str, h[:z])], [*map(str, t[:z])]) for h in told) / z
                    for z in range(1, len(t) + 1)
                ]
                area = sum((a + b) / 2 for a, b in pairwise(curve)) / max(len(t) - 1, 1)
                assert errors[f"{name}_ed"][i] == curve[-1]
                assert errors[f"{name}_aued"][i] == pytest.approx(area, abs=1e-12)


def test_keyframe_error_follows_the_official_clock():
    error = keyframe_error_s(
        np.array([8.0, 0.0]),
        num_nodes=16,
        start_frame=np.array([0.0, 3030.0]),
        end_frame=np.array([240.0, 3210.0]),
        pnr_frame=np.array([150.0, 3120.0]),
        start_s=np.array([0.0, 101.0]),
        end_s=np.array([8.0, 107.0]),
    )
    # |8 * 240/16 - 150| / (241/8); |0 - 90| / (181/6)
    np.testing.assert_allclose(error, [30 / (241 / 8), 90 / (181 / 6)])


def test_keyframe_error_agrees_with_exact_fractions_on_thousands_of_segments():
    g = np.random.default_rng(0)
    start = g.integers(0, 100_000, 3000).astype(float)
    end = start + g.integers(150, 241, 3000)
    pnr = start + g.integers(0, 150, 3000)
    node = g.integers(0, 16, 3000).astype(float)
    start_s, end_s = start / 30 + 0.02, end / 30 + 0.02
    found = keyframe_error_s(
        node, num_nodes=16, start_frame=start, end_frame=end, pnr_frame=pnr,
        start_s=start_s, end_s=end_s,
    )  # fmt: skip
    for i in range(3000):
        length = Fraction(end[i]) - Fraction(start[i])
        fps = (length + 1) / (Fraction(end_s[i]) - Fraction(start_s[i]))
        offset = Fraction(node[i]) * length / 16
        exact = abs(offset - (Fraction(pnr[i]) - Fraction(start[i]))) / fps
        assert found[i] == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


def test_top_k_agrees_with_sorting_and_top_one_with_k_of_one():
    for seed in range(200):
        g = torch.Generator().manual_seed(seed)
        logits = torch.randn(20, 9, generator=g)
        labels = torch.randint(9, (20,), generator=g)
        for k in (1, 3, 5):
            ranked = [sorted(range(9), key=lambda y, r=row: -r[y])[:k] for row in logits.tolist()]
            naive = [float(y in best) for y, best in zip(labels.tolist(), ranked, strict=True)]
            assert hits(logits, labels, k=k).tolist() == naive


def test_class_mean_weighs_classes_and_not_samples():
    # class 0: 3 of 4 right; class 7: 0 of 1
    assert class_mean(np.array([1.0, 1, 1, 0, 0]), torch.tensor([0, 0, 0, 0, 7])) == 0.375


def test_batch_mean_gives_the_small_last_batch_too_much_weight():
    values = np.array([0.0, 0, 0, 0, 1])
    assert batch_mean(values, 2) == pytest.approx(1 / 3)
    assert batch_mean(values, 5) == values.mean()
    assert batch_mean(values[:4] + [0, 1, 2, 3], 2) == 1.5  # equal batches: the plain mean


@pytest.mark.slow
def test_calibration_error_agrees_with_a_loop_over_bins():
    for seed in range(300):
        g = torch.Generator().manual_seed(seed)
        rows = int(torch.randint(1, 60, (), generator=g))
        probabilities = (3 * torch.randn(rows, 4, generator=g)).softmax(1)
        labels = torch.randint(4, (rows,), generator=g)
        error = 0.0
        for low in range(15):
            inside = [
                (p, q)
                for p, q in zip(probabilities.tolist(), labels.tolist(), strict=True)
                if low == min(int(torch.tensor(max(p)) * 15), 14)
            ]
            if inside:
                right = sum(p.index(max(p)) == q for p, q in inside) / len(inside)
                sure = sum(max(p) for p, _ in inside) / len(inside)
                error += abs(right - sure) * len(inside) / rows
        assert calibration_error(probabilities, labels) == pytest.approx(error, abs=1e-9)
        curve = reliability(probabilities, labels)
        gaps = np.nan_to_num(np.abs(curve.accuracy - curve.confidence)) * curve.count
        assert gaps.sum() / rows == pytest.approx(error, abs=1e-9)
        assert curve.count.sum() == rows


def test_a_hit_is_a_row_whose_best_label_is_right():
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert hits(logits, torch.tensor([1, 0, 0, 1])).tolist() == [1, 1, 0, 0]


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3, abs=1e-6)
    assert calibration_error(torch.eye(3), torch.arange(3)) == pytest.approx(0)
