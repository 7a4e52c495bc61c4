import numpy as np
import pytest
import torch

from extract.encoders.library import trunk
from extract.encoders.library.trunk import FrameMean, LibraryConfig, contract_of, pool

NONE = (None, None)


class Shrinking(LibraryConfig):
    """Every second pixel, and how many frames came at once."""

    kind = "shrinking"
    calls: list[int] = []

    def build(self):
        raise NotImplementedError

    def pixels(self, frames):
        self.calls.append(len(frames))
        return torch.from_numpy(frames[:, ::2, ::2].copy()).permute(0, 3, 1, 2) / 255


def test_frames_are_prepared_in_bounded_numbers(monkeypatch):
    monkeypatch.setattr(trunk, "_PICTURE_BYTES", 3 * 4 * 8 * 6 * 3)
    frames = np.random.default_rng(0).integers(0, 256, (8, 8, 6, 3), np.uint8)
    config = Shrinking("last", "mean", 3)
    prepared = config.prepare(frames)
    assert Shrinking.calls == [3, 3, 2]
    assert prepared.dtype == np.float32
    assert np.array_equal(prepared, (torch.from_numpy(frames[:, ::2, ::2]) / 255).numpy())


def test_a_size_that_follows_the_frames_is_refused():
    with pytest.raises(ValueError, match=r"makes \(48, 64\) of \(96, 128\) pixels and \(64, 48\)"):
        Shrinking("last", "mean", 3).frame_size()


def test_the_feature_of_a_window_is_the_mean_of_its_frames():
    class Sums(FrameMean):
        def of_images(self, images):
            return images.sum((2, 3))

    pixels = torch.arange(2 * 3 * 4 * 2 * 2.0).view(2, 3, 4, 2, 2)
    torch.testing.assert_close(Sums()(pixels), pixels.sum((3, 4)).mean(2))


def test_tokens_are_averaged_or_the_first_is_taken():
    tokens, maps = torch.randn(2, 5, 3), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(pool(tokens, "mean"), tokens.mean(1))
    assert torch.equal(pool(tokens, "first"), tokens[:, 0])
    torch.testing.assert_close(pool(maps, "mean", channel=1), maps.mean((2, 3)))
    torch.testing.assert_close(pool(maps, "mean"), maps.mean((1, 2)))
    with pytest.raises(ValueError, match="a map without a class token"):
        pool(maps, "first", channel=1)


@pytest.mark.parametrize(
    ("frames", "options", "expected"),
    [
        (None, {}, (32, 16, 8)),
        (None, {"window_frames": 2}, (2, 1, 1)),
        (None, {"frame_step": 32}, (32, 16, 32)),
        (64, {}, (128, 64, 2)),
        (64, {"frame_step": 1}, (64, 32, 1)),
        (64, {"window_frames": 32, "stride_frames": 8}, (32, 8, 2)),
    ],
)
def test_windows_follow_the_model_unless_they_are_set(frames, options, expected):
    contract = contract_of((32, 48), NONE, frames, options)
    assert (contract.window_frames, contract.stride_frames, contract.frame_step) == expected
    assert contract.frame_shape == (32, 48, 3)
    assert (contract.resize, contract.color, contract.short_side) == ("library", "tagged", 32)
    assert (contract.mean, contract.std) == ((0.0,) * 3, (1.0,) * 3)


def test_a_window_holds_whole_steps():
    with pytest.raises(ValueError, match="window_frames=10: expected a multiple of frame_step=4"):
        contract_of((32, 32), NONE, None, {"window_frames": 10, "frame_step": 4})
