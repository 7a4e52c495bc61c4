"""Frames shared between windows give the features of windows that share nothing."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from extract.contract import FeatureContract
from extract.encoders.torch_encoder import TorchEncoder
from extract.features.extractor import Extractor
from extract.runtime import frame_batches
from extract.windows import clip_windows, stack_windows
from tests.extract.conftest import TINY_SWIN

FLOAT = FeatureContract(frame_step=2, short_side=52, crop_height=48, crop_width=64)
STEP_1 = FeatureContract(window_frames=8, stride_frames=4, short_side=52, crop_height=48,
                         crop_width=64)  # fmt: skip


class Counting(TorchEncoder):
    """Counts the frames it prepares."""

    prepared = 0
    most_at_once = 0

    def to_pixels(self, frames):
        self.prepared += len(frames)
        self.most_at_once = max(self.most_at_once, len(frames))
        return super().to_pixels(frames)


def make_frames(count):
    return np.random.default_rng(count).integers(0, 256, (count, 60, 90, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("contract", [FLOAT, STEP_1], ids=["every second frame", "every frame"])
@pytest.mark.parametrize("count", [1, 7, 32, 33, 47, 95, 101])
@pytest.mark.parametrize("batch_windows", [1, 4])
def test_shared_frames_change_no_feature(contract, count, batch_windows):
    encoder, frames = TorchEncoder("tiny", TINY_SWIN, contract), make_frames(count)
    windows = stack_windows(frames, contract)
    expected = encoder.encode(torch.from_numpy(windows))
    track = Extractor(encoder, batch_windows=batch_windows).from_frames(
        [frames[:5], frames[5:]], video_id="v"
    )
    torch.testing.assert_close(track.features, expected, atol=1e-6, rtol=0)


def test_each_frame_is_prepared_once_however_windows_fall_into_batches():
    encoder, frames = Counting("tiny", TINY_SWIN, STEP_1), make_frames(103)
    Extractor(encoder, batch_windows=3).from_frames([frames], video_id="v")
    # The last window, 95-102, is moved back: frames of the batch before are there still.
    assert encoder.prepared == 103


def test_large_frames_are_prepared_few_at_a_time(monkeypatch):
    monkeypatch.setattr(frame_batches, "_PIXEL_BYTES", 4 * 3 * 60 * 90 * 5)
    encoder = Counting("tiny", TINY_SWIN, STEP_1)
    Extractor(encoder).from_frames([make_frames(50)], video_id="v")
    assert encoder.most_at_once == 5


def test_pixels_kept_do_not_grow_with_the_video():
    encoder = TorchEncoder("tiny", TINY_SWIN, STEP_1)
    shared = frame_batches.SharedFrames(encoder)
    frames = list(enumerate(make_frames(80)))
    for start in range(0, 72, 4):
        shared([frames[start : start + 8]])
        assert len(shared._pixels) == 8


class Operations(TorchDispatchMode):
    """Names of torch's operations, each a kernel on a GPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket)
        return func(*args, **(kwargs or {}))


def test_a_window_is_gathered_in_one_operation_however_many_frames_it_has():
    encoder = TorchEncoder("tiny", TINY_SWIN, STEP_1)
    encoder.encode_pixels = lambda pixels: pixels[:, 0, 0, 0]  # the trunk's own are its own
    shared = frame_batches.SharedFrames(encoder)
    windows = clip_windows(make_frames(68), STEP_1)
    with Operations() as operations:
        shared(windows[:8])
        shared(windows[8:])
    assert len(windows) == 16
    aten = torch.ops.aten
    assert operations.names.count(aten.index_select) <= 16 + 2 * 2  # and two a resize
    assert (
        operations.names.count(aten.stack) + operations.names.count(aten.cat) == 2
    )  # frames kept, new


def test_an_encoder_of_windows_alone_is_given_windows():
    class OfWindows:
        name, fingerprint, dim, contract = "w", "f", 1, FLOAT

        def encode(self, windows):
            return windows.float().mean(dim=(1, 2, 3, 4))[:, None]

    frames = make_frames(64)
    track = Extractor(OfWindows()).from_frames([frames], video_id="v")
    windows = stack_windows(frames, FLOAT)
    torch.testing.assert_close(
        track.features[:, 0], OfWindows().encode(torch.tensor(windows))[:, 0]
    )


@pytest.mark.gpu
def test_frames_that_travel_ahead_give_the_same_features():
    frames = make_frames(400)
    encoder = TorchEncoder("tiny", TINY_SWIN, FLOAT)
    tracks = [
        Extractor(encoder.to(device), batch_windows=4).from_frames([frames], video_id="v")
        for device in ("cpu", "cuda")
    ]
    torch.testing.assert_close(tracks[1].features, tracks[0].features, atol=1e-3, rtol=1e-3)
