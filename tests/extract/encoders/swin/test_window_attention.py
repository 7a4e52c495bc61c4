"""Position biases are those of their table; that they follow its changes: see `test_attention`."""

import torch

from extract.encoders.swin.token_layout import padded
from extract.encoders.swin.window_attention import BoxBiases, WindowAttention
from extract.encoders.swin.window_boxes import box_kinds

KINDS = box_kinds((16, 14, 14), (8, 7, 7), (4, 3, 3))


def test_a_bias_is_the_table_at_two_places_and_padded_keys_are_never_seen():
    attention = WindowAttention(6, [8, 7, 7], [4, 3, 3], 3)
    biases = attention.biases(KINDS)
    assert attention.biases(KINDS) is biases
    whole = attention.relative_position_bias_table[attention.relative_position_index]
    whole = whole.view(392, 392, 3).permute(2, 0, 1)
    for kind, bias in zip(KINDS, biases.of_kinds, strict=True):
        length, places = len(kind.places), torch.from_numpy(kind.places)
        assert torch.equal(bias[0, ..., :length], whole[:, places[:, None], places])
        assert (bias[..., length:] == -torch.inf).all()


def test_biases_made_in_inference_can_be_traced_afterwards():
    attention = WindowAttention(6, [8, 7, 7], [4, 3, 3], 3).eval()
    with torch.inference_mode():
        assert not attention.biases(KINDS).packed.is_inference()


def test_on_a_gpu_biases_are_masks_that_attention_takes_as_they_are():
    """Their rows start at multiples of eight numbers, or a mask is copied at each use."""
    kinds = box_kinds((16, 14, 14), (8, 7, 7), (4, 3, 3))
    lengths = [len(kind.places) for kind in kinds]
    packed = torch.empty(3 * sum(n * padded(n) for n in lengths), device="meta")
    for bias, length in zip(BoxBiases.of(packed, kinds, 3).of_kinds, lengths, strict=True):
        assert bias.shape == (1, 3, length, length)
        assert bias.stride(-1) == 1
        assert all(stride % 8 == 0 for stride in (*bias.stride()[:-1], bias.storage_offset()))
