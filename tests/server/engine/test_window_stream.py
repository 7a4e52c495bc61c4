"""A real video in batches of windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.contract import FeatureContract
from extract.errors import DecoderDied
from extract.windows import stack_windows
from server.engine.window_stream import VideoStream
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import decode
from tests.server.support.fakes import make_settings

SAMPLE = Path(__file__).parents[3] / "clients" / "sample" / "clip.mp4"
SMALL = FeatureContract(crop_height=8, crop_width=8, short_side=8)


@pytest.fixture
def stream():
    stream = VideoStream(SAMPLE, SMALL, make_settings(job_batch_windows=10))
    yield stream
    stream.stop()
    stream.close()


def stacked(batches):
    return np.stack([[frame for _, frame in window] for batch in batches for window in batch])


def test_all_windows_come_in_order_in_batches_of_bounded_size(stream):
    batches = list(stream.batches())
    assert [len(batch) for batch in batches] == [10, 10, 4]
    assert stream.num_windows == 24
    windows = stacked(batches)
    assert windows.shape == (24, 32, 8, 8, 3)
    assert (windows[1, :16] == windows[0, 16:]).all()  # a stride is half a window
    assert len(stream.facts.source_frames) == stream.num_frames


def test_whole_frames_are_prepared_as_they_come(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", noisy_frames(70, 64, 48))
    whole = replace(SMALL, resize="library")
    stream = VideoStream(
        path,
        whole,
        make_settings(job_batch_windows=10),
        prepare=lambda frames: frames[:, ::6, ::8].astype(np.float32),
    )
    windows = stacked(stream.batches())
    stream.close()
    _, frames = decode(path, whole)
    assert np.array_equal(windows, stack_windows(frames[:, ::6, ::8], whole))


def test_a_stopped_stream_raises_in_its_reader(stream):
    batches = stream.batches()
    next(batches)
    stream.stop()
    with pytest.raises(DecoderDied):
        list(batches)


def test_a_stream_stopped_before_it_began_starts_no_process(stream):
    stream.stop()
    with pytest.raises(DecoderDied, match="before"):
        next(stream.batches())
