"""A processor encodes a few windows at a time; what was made ready for sizes takes them all."""

import pytest
import torch

from extract.encoders.torch_encoder import CPU_WINDOWS_TOGETHER, Uninitialised
from tests.extract.conftest import TINY_SWIN


@pytest.fixture
def sizes(tiny_encoder):
    """How many windows the trunk was given, call by call."""
    seen = []
    tiny_encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


def windows(encoder, count):
    contract = encoder.contract
    frames = contract.window_frames // contract.frame_step
    shape = (count, frames, contract.crop_height, contract.crop_width, 3)
    return torch.randint(0, 256, shape, generator=torch.manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17, 64])
def test_a_batch_of_any_size_is_encoded_a_few_windows_at_a_time(tiny_encoder, sizes, count):
    batch = windows(tiny_encoder, count)
    features = tiny_encoder.encode(batch)
    assert sum(sizes) == count
    assert max(sizes) <= CPU_WINDOWS_TOGETHER
    assert max(sizes) - min(sizes) <= 1
    alone = torch.cat([tiny_encoder.encode(one[None]) for one in batch])
    torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-4)


def test_what_was_made_ready_for_sizes_takes_a_batch_whole(tiny_encoder):
    given = []
    tiny_encoder.run = lambda pixels: given.append(len(pixels)) or tiny_encoder.trunk(pixels)
    tiny_encoder.encode(windows(tiny_encoder, 17))
    assert given == [17]


def test_layers_made_uninitialised_are_those_made_otherwise_once_they_have_weights():
    plain = TINY_SWIN.build().eval()
    with Uninitialised():
        quick = TINY_SWIN.build().eval()
    assert not torch.equal(*(net.norm.weight for net in (plain, quick)))  # ones, and anything
    for name, table in plain.named_buffers():
        assert torch.equal(table, quick.get_buffer(name)), name
    quick.load_state_dict(plain.state_dict(), assign=True)
    pixels = torch.rand(1, 3, 8, 32, 32)
    assert torch.equal(plain(pixels), quick(pixels))


@pytest.fixture
def _cudnn_attention_on():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("_cudnn_attention_on")
def test_a_gpu_never_plans_attention_anew_for_a_shape(tiny_encoder, monkeypatch):
    moved = []
    monkeypatch.setattr(tiny_encoder.trunk, "to", moved.append)
    tiny_encoder.to("cpu")
    assert torch.backends.cuda.cudnn_sdp_enabled()
    tiny_encoder.to("cuda:0")
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert moved == ["cpu", "cuda:0"]
