import editdistance
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import fit_temperature
from model.metrics import (
    anticipation_errors,
    area_under_edit_distance,
    calibration_error,
    edit_distance,
    keyframe_error_s,
    levenshtein,
    top1,
)

sequences = st.lists(st.integers(0, 4), max_size=12)


@settings(max_examples=500)
@given(sequences, sequences)
def test_levenshtein_agrees_with_an_independent_implementation(a, b):
    assert levenshtein(a, b) == editdistance.eval(a, b)


def test_a_transposition_costs_two():
    assert levenshtein([1, 2], [2, 1]) == 2


def test_edit_distance_takes_the_best_hypothesis_over_the_length():
    assert edit_distance([[1, 1, 1, 1], [1, 2, 3, 9]], [1, 2, 3, 4]) == 0.25


def test_area_under_the_curve_by_hand():
    # right, then wrong: ED@1 = 0, ED@2 = 1/2, ED@3 = 2/3 -> (0 + 1/2)/2 + (1/2 + 2/3)/2 over 2
    assert area_under_edit_distance([[1, 9, 9]], [1, 2, 3]) == pytest.approx((0.25 + 7 / 12) / 2)


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_anticipation_agrees_with_the_official_loop(seed):
    g = torch.Generator().manual_seed(seed)
    verb, noun = (torch.randint(4, (3, 5, 6), generator=g) for _ in range(2))
    tv, tn = (torch.randint(4, (3, 6), generator=g) for _ in range(2))
    errors = anticipation_errors(verb, noun, tv, tn)
    for i in range(3):
        for name, sampled, truth in (("verb", verb, tv), ("noun", noun, tn)):
            best = min(editdistance.eval(h, truth[i].tolist()) for h in sampled[i].tolist())
            assert errors[f"{name}_ed"][i] == best / 6
        pairs = [list(zip(v, n, strict=True))
                 for v, n in zip(verb[i].tolist(), noun[i].tolist(), strict=True)]  # fmt: skip
        truth = list(zip(tv[i].tolist(), tn[i].tolist(), strict=True))
        assert errors["action_ed"][i] == min(editdistance.eval(h, truth) for h in pairs) / 6
        assert errors["action_ed"][i] >= max(errors["verb_ed"][i], errors["noun_ed"][i])


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


def test_top1_counts_rows_whose_best_label_is_right():
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert top1(logits, torch.tensor([1, 0, 0, 1])) == 0.5


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3, abs=1e-6)
    assert calibration_error(torch.eye(3), torch.arange(3)) == pytest.approx(0)


def test_a_temperature_undoes_a_known_scale_and_keeps_every_decision():
    g = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 5, generator=g) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=g)[:, 0]
    fitted = fit_temperature(true * 4, labels)
    assert fitted.temperature == pytest.approx(4, rel=0.1)
    assert fitted.ece_after < fitted.ece_before
    scaled = (true * 4 / fitted.temperature).argmax(1)
    assert torch.equal(scaled, true.argmax(1))
