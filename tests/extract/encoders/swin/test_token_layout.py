"""Tokens keep their identity on their way through a stage, and slices leave boxes whole."""

import pytest
import torch

from extract.encoders.swin import token_layout as layout
from extract.encoders.swin.token_layout import SIMD_WIDTH, TILE_QUERIES, lay_out, padded

WINDOW = (8, 7, 7)
SHIFTS = ((0, 0, 0), (4, 3, 3)) * 2
CPU = torch.device("cpu")


@pytest.mark.parametrize("grid", [(16, 14, 14), (9, 8, 20), (3, 7, 8), (1, 1, 1), (4, 5, 6)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("is_sliced", [True, False])
def test_tokens_come_back_as_they_were(grid, batch, is_sliced):
    way = lay_out((batch, *grid), WINDOW, SHIFTS, CPU, is_sliced=is_sliced)
    tokens = torch.arange(len(way.back))
    rows = tokens
    for step in way.steps:
        rows = rows[step.rows]
        seen = rows[: len(rows) - step.spare]
        if step.padding is not None:
            seen = seen[~step.padding[: len(seen), 0]]
        assert torch.equal(seen.sort().values, tokens)  # each once, padding aside
    assert torch.equal(rows[way.back], tokens)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("limit", [1, 100, 392, 1000, 10**6])
def test_slices_follow_each_other_and_leave_boxes_whole(monkeypatch, batch, limit):
    monkeypatch.setattr(layout, "SLICE_ROWS", limit)
    lay_out.cache_clear()
    way = lay_out((batch, 16, 14, 15), WINDOW, SHIFTS[:2], CPU, is_sliced=True)
    lay_out.cache_clear()
    for step in way.steps:
        ends = [0, *(part.stop for part in step.slices)]
        assert [part.start for part in step.slices] == ends[:-1]
        assert ends[-1] == len(step.rows) - step.spare
        runs = [run for part in step.slices for run in part.runs]
        assert [kind for kind, _ in runs] == sorted(kind for kind, _ in runs)
        assert all(rows % len(step.kinds[kind].places) == 0 for kind, rows in runs)
        for part in step.slices:
            assert sum(rows for _, rows in part.runs) == part.stop - part.start
            assert part.stop - part.start < limit + 392


def test_a_layout_not_sliced_is_one_slice():
    way = lay_out((2, 16, 56, 56), WINDOW, SHIFTS[:2], CPU, is_sliced=False)
    assert [len(step.slices) for step in way.steps] == [1, 1]


def test_only_a_cpu_fills_boxes_up():
    on_cpu, elsewhere = (
        lay_out((1, 9, 14, 14), WINDOW, SHIFTS[:2], device, is_sliced=False).steps[1].spare
        for device in (CPU, torch.device("meta"))
    )
    assert 0 < on_cpu < layout.SIMD_WIDTH
    assert elsewhere == 0


@pytest.mark.parametrize("grid", [(16, 14, 14), (3, 9, 9), (1, 8, 10)])
def test_tiles_take_every_query_once_with_its_own_box_and_biases(grid):
    shifts, heads = ((0, 0, 0), (4, 3, 3)), 2
    layout = lay_out((2, *grid), (8, 7, 7), shifts, torch.device("cpu"), is_sliced=False)
    for step in layout.steps:
        queries = torch.zeros(step.slices[-1].stop, dtype=torch.int64)
        starts = {}
        for first, length, query, start in step.tiles.tolist():
            assert query < length
            queries[first + query : first + min(length, query + TILE_QUERIES)] += 1
            starts.setdefault(start * SIMD_WIDTH * heads, length)
        assert (queries == 1).all()
        of_kinds = [heads * len(kind.places) * padded(len(kind.places)) for kind in step.kinds]
        assert list(starts) == [sum(of_kinds[:i]) for i in range(len(of_kinds))]
        assert list(starts.values()) == [len(kind.places) for kind in step.kinds]
