from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import ModelConfig
from model.segments import add_future, pick_nodes, segment_rows
from model.tasks import AR, LTA, OSCC, PNR, TASKS

CONFIG = ModelConfig(input_size=4)
AUTHORS = replace(CONFIG, windows="overlapping", instants="start")


def rows_of(start, end, rows, config=CONFIG):
    first, count = segment_rows(torch.tensor([start, end]), torch.tensor(rows), config=config)
    return list(range(int(first), int(first + count)))


def test_contained_windows_lie_inside_the_segment():
    assert rows_of(0, 240, 100) == list(range(14))  # row 13 covers [208, 240)
    assert rows_of(1, 240, 100) == list(range(1, 14))
    assert rows_of(160, 400, 100) == list(range(10, 24))


def test_overlapping_windows_start_inside_the_segment_as_the_authors_count():
    assert rows_of(0, 240, 100, AUTHORS) == list(range(15))
    assert rows_of(15, 240, 100, AUTHORS) == list(range(15))


@given(
    start=st.integers(0, 5000), length=st.integers(1, 400), rows=st.integers(1, 250),
    rule=st.sampled_from(["contained", "overlapping"]),
)  # fmt: skip
def test_a_segment_never_comes_back_empty_or_outside_the_video(start, length, rows, rule):
    found = rows_of(start, start + length, rows, replace(CONFIG, windows=rule))
    assert found
    assert 0 <= found[0] <= found[-1]
    if len(found) > 1 or start // 16 < rows:
        assert found[-1] < rows


def pick(spec, segments, rows=100, generator=None, config=CONFIG):
    segments = torch.tensor(segments)
    return pick_nodes(
        spec, segments, torch.full((len(segments),), rows), config=config, generator=generator
    )


def test_an_action_takes_the_middle_of_each_third():
    segments = [[[0, 16 * 14 + 32]] * 9]  # 15 rows
    assert pick(AR, segments).lower[0, 0].tolist() == [2, 7, 12]


def test_one_row_is_repeated():
    assert pick(AR, [[[0, 32]] * 9]).lower[0, 0].tolist() == [0, 0, 0]


def test_oscc_cuts_a_segment_in_four_parts_of_three_rows_in_order():
    found = pick(OSCC, [[[0, 240]]]).lower[0]
    assert found.shape == (4, 3)
    assert found.flatten().tolist() == [14 * i // 12 for i in range(12)]


def test_pnr_reads_a_linear_signal_at_its_sixteen_instants():
    time = (torch.arange(100.0) * 16 + 16).unsqueeze(1)  # each row holds its centre frame
    segment = [[320, 560]]
    values = pick(PNR, [segment]).gather(time)[0, :, 0, 0]
    expected = torch.arange(16) * 15.0 + 320
    inside = expected.clamp(336, 544)  # the first and last contained windows' centres
    torch.testing.assert_close(values, inside)


def test_pnr_as_the_authors_read_it():
    time = (torch.arange(100.0) * 16).unsqueeze(1)  # each row holds its first frame
    values = pick(PNR, [[[320, 560]]], config=AUTHORS).gather(time)[0, :, 0, 0]
    torch.testing.assert_close(values, (torch.arange(16) * 15.0 + 320).clamp(max=16 * 34))


@given(seed=st.integers(0, 1000), start=st.integers(0, 600), length=st.integers(40, 300))
def test_training_draws_stay_inside_the_segment(seed, start, length):
    generator = torch.Generator().manual_seed(seed)
    allowed = rows_of(start, start + length, 100)
    for spec in TASKS.values():
        segments = [[[start, start + length]] * spec.num_segments]
        found = pick(spec, segments, generator=generator)
        for rows in (found.lower, found.upper):
            assert set(rows.flatten().tolist()) <= set(allowed)
        if spec is not PNR:
            flat = found.lower[0].flatten(1 if spec is AR or spec is LTA else 0)
            assert torch.equal(flat.sort(-1).values, flat)


def test_training_draws_differ_and_evaluation_does_not():
    segments = [[[0, 240]]]
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(pick(OSCC, segments, generator=generator).lower.flatten().tolist())
             for _ in range(10)}  # fmt: skip
    assert len(drawn) > 5
    fixed = {tuple(pick(OSCC, segments).lower.flatten().tolist()) for _ in range(3)}
    assert len(fixed) == 1


def test_only_tasks_with_future_nodes_get_some():
    x = torch.randn(2, 2, 3, 4)
    assert add_future(LTA, x).shape == (2, 3, 3, 4)
    assert add_future(AR, x) is x


@pytest.mark.parametrize("spec", list(TASKS.values()), ids=list(TASKS))
def test_graphs_of_a_batch_are_picked_independently(spec):
    starts = [0, 100, 333]
    segments = [[[s, s + 240]] * spec.num_segments for s in starts]
    together = pick(spec, segments)
    for i, segment in enumerate(segments):
        alone = pick(spec, [segment])
        assert torch.equal(together.lower[i], alone.lower[0])
        assert torch.equal(together.weight[i], alone.weight[0])
