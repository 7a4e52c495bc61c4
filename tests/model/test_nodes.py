import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import ModelConfig
from model.nodes import RowSelection, add_future, pick_nodes, segment_rows
from model.tasks import AR, LTA, OSCC, PNR, TASKS

CONFIG = ModelConfig(input_size=4)
AUTHORS = replace(CONFIG, windows="overlapping", instants="start", subsegments="random")
SPECS = st.sampled_from(list(TASKS.values()))
STARTS, LENGTHS, ROWS = st.integers(-300, 5000), st.integers(1, 400), st.integers(1, 250)


def rows_of(start, end, rows, config=CONFIG, spec=AR):
    first, count = segment_rows(spec, torch.tensor([start, end]), torch.tensor(rows), config=config)
    return list(range(int(first), int(first + count)))


def pick(spec, segments, rows=100, generator=None, config=CONFIG):
    segments = torch.tensor(segments)
    return pick_nodes(
        spec, segments, torch.full((len(segments),), rows), config=config, generator=generator
    )


def test_contained_windows_lie_inside_the_segment():
    assert rows_of(0, 240, 100) == list(range(14))  # row 13 covers [208, 240)
    assert rows_of(1, 240, 100) == list(range(1, 14))
    assert rows_of(160, 400, 100) == list(range(10, 24))


@given(spec=SPECS, start=STARTS, length=LENGTHS, rows=ROWS)
def test_contained_windows_are_all_those_inside_and_no_others(spec, start, length, rows):
    end = start + length
    inside = [k for k in range(rows) if start <= 16 * k and 16 * k + 32 <= end]
    if inside:
        assert rows_of(start, end, rows, spec=spec) == inside
    else:
        assert len(rows_of(start, end, rows, spec=spec)) == 1


def test_longer_windows_are_those_of_the_config_and_short_segments_take_the_middle_one():
    config = ModelConfig(window_frames=128, stride_frames=64)
    rows = torch.tensor([20])
    inside = segment_rows(AR, torch.tensor([[100, 400]]), rows, config=config)
    assert [int(x) for x in inside] == [2, 3]  # those that begin at 128, 192 and 256
    for start, end in ((1, 61), (130, 190), (300, 330), (600, 700)):
        first, count = segment_rows(AR, torch.tensor([[start, end]]), rows, config=config)
        away = [abs(64 * k + 64 - (start + end) / 2) for k in range(20)]
        assert (away[int(first)], int(count)) == (min(away), 1)
        before, _ = segment_rows(LTA, torch.tensor([[start, end]]), rows, config=config)
        assert 64 * int(before) + 128 <= max(end, 128)


@given(spec=SPECS, start=STARTS, length=LENGTHS, rows=ROWS)
def test_overlapping_windows_are_the_rows_the_authors_slice(spec, start, length, rows):
    end = start + length
    low, high = math.floor(start / 16), math.floor(end / 16)
    if spec is AR:
        high = min(rows - 1, high)
    if spec is LTA:
        low, high = low - 1, min(rows - 1, high)
    expected = list(range(rows))[max(low, 0) : max(high, 0)]
    found = rows_of(start, end, rows, AUTHORS, spec)
    assert found == expected if expected else len(found) == 1


@given(
    start=STARTS, length=LENGTHS, rows=ROWS, spec=SPECS, draws=st.booleans(),
    windows=st.sampled_from(["contained", "overlapping"]),
    instants=st.sampled_from(["centre", "start"]),
    subsegments=st.sampled_from(["parts", "random"]),
)  # fmt: skip
def test_rows_are_always_of_the_video_and_never_none(
    start, length, rows, spec, draws, windows, instants, subsegments
):
    config = replace(CONFIG, windows=windows, instants=instants, subsegments=subsegments)
    generator = torch.Generator().manual_seed(0) if draws else None
    found = pick(spec, [[[start, start + length]] * spec.num_segments], rows, generator, config)
    for picked in (found.lower, found.upper):
        if picked is not None:
            assert picked.numel() > 0
            assert 0 <= int(picked.min()) <= int(picked.max()) < rows
    if found.weight is not None:
        assert bool(((found.weight >= 0) & (found.weight <= 1)).all())


@given(start=STARTS, length=LENGTHS, rows=ROWS, seed=st.integers(0, 99), draws=st.booleans())
def test_what_is_observed_to_tell_the_future_ends_before_it(start, length, rows, seed, draws):
    """The strict-causal choice of LTA: no window sees a frame past the observed segments."""
    ends = (start + length, start + length + 100)
    segments = [[[start, ends[0]], [start + 100, ends[1]]]]
    generator = torch.Generator().manual_seed(seed) if draws else None
    found = pick(LTA, segments, rows, generator).lower[0]
    for node, end in zip(found, ends, strict=True):
        if end >= 32:  # before that no window has ended
            assert (16 * node + 32 <= end).all()


def test_the_authors_windows_look_past_what_is_observed():
    assert 16 * rows_of(240, 480, 100, AUTHORS, LTA)[-1] + 32 > 480
    generator = torch.Generator().manual_seed(0)
    drawn = [
        pick(LTA, [[[0, 240], [0, 240]]], 100, generator, AUTHORS).lower.max() for _ in range(50)
    ]
    assert 16 * int(max(drawn)) + 32 > 240


def test_an_action_takes_the_middle_of_each_third():
    segments = [[[0, 16 * 14 + 32]] * 9]  # 15 rows
    assert pick(AR, segments).lower[0, 0].tolist() == [2, 7, 12]


def test_one_row_is_repeated():
    assert pick(AR, [[[0, 32]] * 9]).lower[0, 0].tolist() == [0, 0, 0]


@given(spec=st.sampled_from([AR, LTA]), start=STARTS, length=LENGTHS, rows=ROWS)
def test_evaluation_of_actions_by_a_loop(spec, start, length, rows):
    allowed = rows_of(start, start + length, rows, spec=spec)
    n = len(allowed)
    expected = [allowed[n * q // 3 + (n // 3) // 2] for q in range(3)]
    found = pick(spec, [[[start, start + length]] * spec.num_segments], rows).lower[0]
    assert found.tolist() == [expected] * spec.num_segments


@given(start=STARTS, length=LENGTHS, rows=ROWS, seed=st.integers(0, 99))
def test_training_of_actions_draws_inside_each_third(start, length, rows, seed):
    allowed = rows_of(start, start + length, rows)
    n = len(allowed)
    generator = torch.Generator().manual_seed(seed)
    found = pick(AR, [[[start, start + length]] * 9], rows, generator).lower[0]
    for vectors in found.tolist():
        for q, row in enumerate(vectors):
            begin = n * q // 3
            assert row in allowed[begin : begin + max(1, n // 3)]


@given(
    start=STARTS, length=LENGTHS, rows=ROWS, rule=st.sampled_from(["parts", "random"]),
    windows=st.sampled_from(["contained", "overlapping"]),
)  # fmt: skip
def test_evaluation_of_segments_is_evenly_spaced_whatever_training_does(
    start, length, rows, rule, windows
):
    config = replace(CONFIG, subsegments=rule, windows=windows)
    allowed = rows_of(start, start + length, rows, config, OSCC)
    expected = [allowed[len(allowed) * i // 12] for i in range(12)]
    found = pick(OSCC, [[[start, start + length]]], rows, config=config).lower[0]
    assert found.shape == (4, 3)
    assert found.flatten().tolist() == expected


@given(start=STARTS, length=LENGTHS, rows=ROWS, seed=st.integers(0, 99))
def test_parts_draw_each_vector_inside_its_own_share_of_the_segment(start, length, rows, seed):
    allowed = rows_of(start, start + length, rows)
    n = len(allowed)
    generator = torch.Generator().manual_seed(seed)
    found = pick(OSCC, [[[start, start + length]]], rows, generator).lower.flatten().tolist()
    for i, row in enumerate(found):
        share = range(math.floor(i * n / 12), math.ceil((i + 1) * n / 12))
        assert row - allowed[0] in share


@given(start=STARTS, length=LENGTHS, rows=ROWS, seed=st.integers(0, 99))
def test_random_draws_are_sorted_and_distinct_where_there_are_enough(start, length, rows, seed):
    config = replace(CONFIG, subsegments="random")
    allowed = rows_of(start, start + length, rows)
    generator = torch.Generator().manual_seed(seed)
    segments = [[[start, start + length]], [[0, 400]]]  # rows beside another segment's
    found = pick(OSCC, segments, rows, generator, config).lower[0].flatten().tolist()
    assert found == sorted(found)
    assert set(found) <= set(allowed)
    if len(allowed) >= 12:
        assert len(set(found)) == 12


@pytest.mark.parametrize("rule", ["parts", "random"])
def test_in_time_every_row_of_a_segment_is_drawn_about_equally_often(rule):
    config = replace(CONFIG, subsegments=rule)
    generator = torch.Generator().manual_seed(0)
    found = pick(OSCC, [[[0, 240]]] * 4000, 100, generator, config).lower
    share = found.flatten().bincount(minlength=14).double() / found.numel()
    assert torch.allclose(share, torch.full((14,), 1 / 14).double(), atol=0.004)


def test_training_draws_differ_and_evaluation_does_not():
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(pick(OSCC, [[[0, 240]]], 100, generator).lower.flatten().tolist())
             for _ in range(10)}  # fmt: skip
    assert len(drawn) > 5
    fixed = {tuple(pick(OSCC, [[[0, 240]]]).lower.flatten().tolist()) for _ in range(3)}
    assert len(fixed) == 1


@given(
    start=STARTS, length=LENGTHS, rows=ROWS,
    windows=st.sampled_from(["contained", "overlapping"]),
    instants=st.sampled_from(["centre", "start"]),
)  # fmt: skip
def test_instants_are_interpolated_as_a_loop_does(start, length, rows, windows, instants):
    config = replace(CONFIG, windows=windows, instants=instants)
    values = torch.randn(rows, 2, dtype=torch.float64)
    found = pick(PNR, [[[start, start + length]]], rows, config=config)
    allowed = rows_of(start, start + length, rows, config, PNR)
    low, high = (allowed[0], allowed[-1]) if windows == "contained" else (0, rows - 1)
    got = found.gather(values)[0]  # one vector stands for all three of a node
    assert got.shape == (16, 1, 2)
    for q in range(16):
        frame = start + math.floor(q * length / 16)
        place = (frame - (16 if instants == "centre" else 0)) / 16
        place = min(max(place, low), high)
        below, above = math.floor(place), math.ceil(place)
        share = place - below
        expected = (1 - share) * values[below] + share * values[above]
        torch.testing.assert_close(got[q, 0].double(), expected, atol=1e-5, rtol=1e-5)


def test_pnr_reads_a_linear_signal_at_its_sixteen_instants():
    time = (torch.arange(100.0) * 16 + 16).unsqueeze(1)  # each row holds its centre frame
    values = pick(PNR, [[[320, 560]]]).gather(time)[0, :, 0, 0]
    inside = (torch.arange(16) * 15.0 + 320).clamp(336, 544)  # first and last contained centres
    torch.testing.assert_close(values, inside)


def test_pnr_as_the_authors_read_it():
    time = (torch.arange(100.0) * 16).unsqueeze(1)  # each row holds its first frame
    values = pick(PNR, [[[320, 560]]], config=AUTHORS).gather(time)[0, :, 0, 0]
    torch.testing.assert_close(values, torch.arange(16) * 15.0 + 320)


def test_half_precision_rows_come_out_as_floats_of_the_same_value():
    features = torch.randn(20, 4).half()
    for found in (RowSelection(torch.tensor([[[0, 7]]])), pick(PNR, [[[0, 240]]], 20)):
        got = found.gather(features)
        assert got.dtype == torch.float32
        assert torch.equal(got, found.gather(features.float()))


def test_only_tasks_with_future_nodes_get_some():
    x = torch.randn(2, 2, 3, 4)
    assert add_future(LTA, x).shape == (2, 3, 3, 4)
    assert add_future(AR, x) is x


@pytest.mark.parametrize("spec", list(TASKS.values()), ids=list(TASKS))
@pytest.mark.parametrize("config", [CONFIG, AUTHORS], ids=["paper", "authors"])
def test_graphs_of_a_batch_are_picked_independently(spec, config):
    segments = [[[s, s + 240]] * spec.num_segments for s in (0, 100, 333)]
    features = torch.randn(100, 4)
    together = pick(spec, segments, config=config).gather(features)
    for i, segment in enumerate(segments):
        assert torch.equal(together[i], pick(spec, [segment], config=config).gather(features)[0])
