import pytest
import torch

from extract.encoders.swin.window_boxes import box_kinds


@pytest.mark.parametrize("shift", [(0, 0, 0), (4, 3, 3)])
@pytest.mark.parametrize("grid", [(16, 14, 14), (9, 8, 20), (3, 7, 8), (1, 1, 1)])
def test_a_token_is_in_one_box_and_boxes_fill_the_padded_grid(grid, shift):
    kinds = box_kinds(grid, (8, 7, 7), shift)
    T, H, W = grid
    padded = [-(-n // min(n, w)) * min(n, w) for n, w in zip(grid, (8, 7, 7), strict=True)]
    tokens = torch.cat([torch.from_numpy(kind.tokens).flatten() for kind in kinds])
    assert tokens.bincount()[:-1].unique().tolist() in ([1], [])
    assert tokens.unique().tolist()[: T * H * W] == list(range(T * H * W))
    assert len(tokens) == padded[0] * padded[1] * padded[2]


def test_boxes_alike_are_few():
    whole = box_kinds((16, 56, 56), (8, 7, 7), (0, 0, 0))
    shifted = box_kinds((16, 56, 56), (8, 7, 7), (4, 3, 3))
    assert [kind.tokens.shape for kind in whole] == [(128, 392)]
    assert len(shifted) == 2 * 3 * 3  # the halves of a time of 8 are alike; 3 and 4 rows are not
    assert sum(kind.tokens.size for kind in shifted) == 16 * 56 * 56
