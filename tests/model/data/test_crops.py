import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.data.crops import crop_segments


def crops(segments, keyframes, rule, seed=0):
    return crop_segments(
        torch.tensor(segments).unsqueeze(1),
        torch.tensor(keyframes, dtype=torch.float64),
        rule,
        torch.Generator().manual_seed(seed),
    )[:, 0]


def draws_of(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, generator=generator, dtype=torch.float64).tolist()


@st.composite
def segments_with_keyframes(draw):
    start, length = draw(st.integers(0, 20000)), draw(st.integers(2, 400))
    return start, start + length, start + draw(st.integers(0, length - 1))


CASES = st.lists(segments_with_keyframes(), min_size=1, max_size=8)


@pytest.mark.parametrize("rule", ["uniform", "ego4d"])
@given(cases=CASES, seed=st.integers(0, 999))
def test_a_crop_is_a_part_of_its_segment_that_holds_the_keyframe(rule, cases, seed):
    found = crops([c[:2] for c in cases], [c[2] for c in cases], rule, seed)
    for (start, end, keyframe), (first, after) in zip(cases, found.tolist(), strict=True):
        assert start <= first <= keyframe < after <= end


@given(cases=CASES, seed=st.integers(0, 999))
def test_the_loader_of_ego4d_by_a_loop(cases, seed):
    found = crops([c[:2] for c in cases], [c[2] for c in cases], "ego4d", seed).tolist()
    for (start, end, keyframe), (u, v), crop in zip(
        cases, draws_of(len(cases), seed), found, strict=True
    ):
        length = 5 + 3 * u
        low, high = 8 - length, 1.0  # numpy's uniform(low), whose other bound is 1.0
        offset = low + (high - low) * v
        first = start + math.floor(offset * 30)
        after = min(start + math.floor((offset + length) * 30), end)
        if keyframe < first:
            first = start
        if keyframe >= after:
            after = end
        assert crop == [first, after]


@given(cases=CASES, seed=st.integers(0, 999))
def test_uniform_crops_last_five_seconds_or_more_where_there_are_as_many(cases, seed):
    found = crops([c[:2] for c in cases], [c[2] for c in cases], "uniform", seed).tolist()
    for (start, end, _), (first, after) in zip(cases, found, strict=True):
        assert after - first >= min(150, end - start)


def test_uniform_crops_reach_both_ends_and_those_of_ego4d_keep_off_the_start():
    count, segment, keyframe = 4000, [300, 540], 420
    uniform = crops([segment] * count, [keyframe] * count, "uniform")
    assert int(uniform[:, 0].min()) == 300
    assert int(uniform[:, 1].max()) == 540
    ego4d = crops([segment] * count, [keyframe] * count, "ego4d")
    late = (ego4d[:, 0] > 300 + 30).double().mean()  # more than a second: 8 - length > 1
    assert 0.5 < float(late) < 0.8  # two thirds of the lengths, less what returns to the bound


@pytest.mark.parametrize("rule", ["uniform", "ego4d"])
def test_a_segment_whose_keyframe_is_hidden_stays_whole(rule):
    assert crops([[300, 540]], [math.nan], rule).tolist() == [[300, 540]]
