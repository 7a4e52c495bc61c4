from dataclasses import replace

import numpy as np
import pytest
import torch

from extract.contract import TABLETOP
from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from extract.errors import VideoRejected
from extract.features import extractor as extractor_module
from extract.features.extractor import Extractor, WindowCutter
from extract.windows import cut_windows
from tests.extract.support.clips import write_numbered


class MeanEncoder:
    """Every feature is the mean level of each frame it saw: can be worked out by hand."""

    name = "mean"
    fingerprint = "f"
    contract = TABLETOP
    dim = 16

    def __init__(self):
        self.batches = []

    def encode(self, windows):
        self.batches.append(len(windows))
        return windows.float().mean(dim=(2, 3, 4))


def level_frames(count):
    levels = np.arange(count, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 4, 6, 3))


def in_blocks(frames, size):
    return [frames[start : start + size] for start in range(0, len(frames), size)]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 39, 48, 49, 64, 100, 250])
@pytest.mark.parametrize("block", [1, 7, 32, 1000])
def test_every_window_sees_the_frames_it_should(count, block):
    track = Extractor(MeanEncoder()).from_frames(
        in_blocks(level_frames(count), block), video_id="v"
    )

    expected = [
        [min(start + k, count - 1) for k in range(0, 32, 2)] for start in cut_windows(count)
    ]
    assert track.features.tolist() == expected
    assert track.num_frames == count
    assert track.is_padded == (count < 32)
    assert track.end_s[-1] == pytest.approx(count / 30)
    assert (track.video_id, track.encoder.name, track.encoder.fingerprint) == ("v", "mean", "f")


def test_windows_are_encoded_in_batches():
    encoder = MeanEncoder()
    Extractor(encoder, batch_windows=4).from_frames([level_frames(200)], video_id="v")
    assert encoder.batches == [4, 4, 4]


def test_large_frames_make_smaller_batches(monkeypatch):
    monkeypatch.setattr(extractor_module, "_BATCH_BYTES", 2 * 16 * 4 * 6 * 3)
    encoder = MeanEncoder()
    Extractor(encoder).from_frames([level_frames(100)], video_id="v")
    assert encoder.batches == [2, 2, 2]


def test_few_frames_are_kept_however_long_the_video():
    cutter = WindowCutter(replace(TABLETOP, frame_step=1))
    most = 0
    for frame in level_frames(256):
        list(cutter.push(frame[None]))
        most = max(most, len(cutter._kept))
    assert most < 32 + 16


def test_no_frame_at_all_is_refused():
    with pytest.raises(VideoRejected, match="too-short"):
        Extractor(MeanEncoder()).from_frames([], video_id="v")


def test_frames_that_change_their_size_are_refused():
    blocks = [np.zeros((40, 4, 6, 3), np.uint8), np.zeros((40, 6, 4, 3), np.uint8)]
    with pytest.raises(VideoRejected, match="damaged"):
        Extractor(MeanEncoder()).from_frames(blocks, video_id="v")


def test_a_file_as_a_stream_equals_the_whole_clip(clips, tiny_encoder):
    path = clips / "plain.mp4"
    extractor = Extractor(tiny_encoder)
    streamed = extractor.from_file(path)
    whole = extractor.from_clip(
        decode_clip(path, tiny_encoder.contract, Limits()), video_id="plain"
    )
    torch.testing.assert_close(streamed.features, whole.features, atol=1e-6, rtol=0)
    assert torch.equal(streamed.start_s, whole.start_s)
    assert streamed.video_id == whole.video_id == "plain"
    assert streamed.encoder.fingerprint == tiny_encoder.fingerprint


def test_features_do_not_depend_on_the_batch_size(clips, tiny_encoder):
    tracks = [
        Extractor(tiny_encoder, batch_windows=size).from_file(clips / "plain.mp4")
        for size in (1, 3, 16)
    ]
    for track in tracks[1:]:
        torch.testing.assert_close(track.features, tracks[0].features, atol=1e-5, rtol=0)


def test_each_frame_of_a_file_is_taken_from_the_reader_once(clips, monkeypatch):
    taken = []
    append = extractor_module.TrackBuilder.append

    def counting(self, block):
        taken.append(len(block))
        append(self, block)

    monkeypatch.setattr(extractor_module.TrackBuilder, "append", counting)
    track = Extractor(MeanEncoder()).from_file(clips / "plain.mp4")
    assert track.num_frames == 100
    assert sum(taken) == 50


def test_limits_hold_for_files_when_given(clips):
    with pytest.raises(VideoRejected, match="too-long"):
        Extractor(MeanEncoder()).from_file(clips / "plain.mp4", limits=Limits(max_duration_s=1.0))


def test_a_short_file_is_marked_as_padded(tmp_path):
    track = Extractor(MeanEncoder()).from_file(write_numbered(tmp_path / "a.mp4", 10))
    assert track.is_padded
    assert len(track.features) == 1
    assert track.duration_s == pytest.approx(1 / 3)
