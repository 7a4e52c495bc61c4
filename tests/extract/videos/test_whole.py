"""Frames that are read whole: the pixels of the decoder, in the size of the video."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from extract.contract import TABLETOP
from extract.decode.clip import TRUSTED, Limits
from extract.decode.video import BLOCK_BYTES, decode_clip
from extract.errors import DecoderDied, VideoRejected
from extract.sandbox.pool import DecodePool
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import FrameStream
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import SHORT, Frames, decode

WHOLE = replace(TABLETOP, resize="library", frame_step=1)
"""Of any crop: only what comes after reading has its size."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "clip.mp4"
    return write_clip(path, noisy_frames(40, 160, 120), options={"bf": "2"})


def stored(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def of_two_sizes(path):
    """Motion JPEG: every packet is a picture of its own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, size in enumerate([(64, 48)] * 20 + [(128, 96)] * 20):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuvj420p"
            encoder.time_base = Fraction(1, 30)
            picture = av.VideoFrame.from_ndarray(noisy_frames(1, *size)[0], format="rgb24")
            for packet in encoder.encode(picture) + encoder.encode(None):
                at = round(number * 1000 / 30)
                packet.stream, packet.pts, packet.dts = stream, at, at
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    return path


@pytest.mark.parametrize("size", [(160, 120), (74, 58), (65, 49)], ids=str)
def test_frames_are_the_decoders_own(tmp_path, size):
    pix_fmt = "yuv444p" if size[0] % 2 else "yuv420p"
    path = write_clip(tmp_path / "clip.mp4", noisy_frames(33, *size), pix_fmt=pix_fmt)
    facts, frames = decode(path, WHOLE)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, stored(path))
    assert (facts.info.width, facts.info.height, facts.info.reader) == (*size, "pyav")


def test_frames_are_upright(tmp_path):
    path = write_clip(tmp_path / "turned.mp4", noisy_frames(33, 96, 64), rotation=90)
    _, frames = decode(path, WHOLE)
    assert np.array_equal(frames, np.rot90(stored(path), axes=(1, 2)))


def test_pixels_are_square(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, 32:] = 200
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for _ in range(33):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    facts, frames = decode(tmp_path / "wide.mp4", WHOLE)
    assert frames.shape[1:] == (48, 128, 3)
    assert (facts.info.width, facts.info.height) == (128, 48)
    assert frames[0, :, :56].max() < 50 < 150 < frames[0, :, 72:].min()


def test_of_a_stereo_recording_the_left_half_is_read(clip):
    _, frames = decode(clip, WHOLE.for_stereo())
    assert np.array_equal(frames, stored(clip)[:, :, :80])


def test_a_clip_is_prepared_in_parts_as_it_leaves_its_process(clip, monkeypatch):
    monkeypatch.setattr("extract.sandbox.pool._PART_BYTES", 7 * 160 * 120 * 3 + 1)
    parts = []

    def prepare(frames):
        parts.append(len(frames))
        return frames[:, ::40, ::40].astype(np.float32)

    with DecodePool(workers=1, limits=Limits()) as pool:
        whole = pool.decode(clip, WHOLE, timeout_s=60)
        small = pool.decode(clip, WHOLE, timeout_s=60, prepare=prepare)
    assert np.array_equal(whole.frames, stored(clip))
    assert np.array_equal(small.frames, whole.frames[:, ::40, ::40])
    assert parts == [7, 7, 7, 7, 7, 5]


@pytest.mark.slow(2)
def test_a_process_streams_them_in_blocks_of_few_bytes(tmp_path):
    path = write_clip(tmp_path / "large.mp4", noisy_frames(12, 1024, 768))
    process, sink = DecodeProcess(TRUSTED), Frames()
    try:
        stream = FrameStream(process, path, WHOLE)
        while not stream.drain_into(sink):
            pass
    finally:
        process.end()
    assert np.array_equal(np.concatenate(sink.blocks), stored(path))
    assert {block.nbytes <= BLOCK_BYTES for block in sink.blocks} == {True}
    assert len(sink.blocks) > 1


@pytest.mark.parametrize(
    "shape",
    [[1, 96, 128, 4], [1, 96, 128], [0, 96, 128, 3], [1, 0, 128, 3], [1, 2**15, 2**16, 3],
     [32, 1000, 1000, 3]],
    ids=str,
)  # fmt: skip
def test_a_process_that_states_another_size_is_not_believed(shape):
    class Liar:
        limits = TRUSTED

        def send(self, request):
            pass

        def replies(self):
            yield {"expected": 40}
            yield {"shape": shape, "offset": 0}

    stream = FrameStream(Liar(), __file__, WHOLE)
    with pytest.raises(DecoderDied):
        stream.drain_into(Frames())


def test_their_memory_is_that_of_the_video(clip):
    with pytest.raises(VideoRejected, match="takes 2 MB, at most 1 MB") as refused:
        decode_clip(clip, WHOLE, replace(SHORT, max_output_mb=1))
    assert refused.value.code == "too-long"
    small = decode_clip(clip, TABLETOP, replace(SHORT, max_output_mb=1))
    assert small.frames.shape[1:3] == (96, 128)


def test_a_video_whose_size_changes_is_refused(tmp_path):
    path = of_two_sizes(tmp_path / "changing.mkv")
    with pytest.raises(VideoRejected, match="the size of the picture changes") as refused:
        decode_clip(path, WHOLE, SHORT)
    assert refused.value.code == "damaged"
