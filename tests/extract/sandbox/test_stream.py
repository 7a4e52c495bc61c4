import os
import time

import numpy as np
import pytest

from extract.contract import OMNIVORE
from extract.decode.clip import TRUSTED
from extract.decode.video import BLOCK_FRAMES, decode_clip
from extract.errors import DecoderDied, VideoRejected
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import SLOTS, FrameStream
from tests.extract.support.clips import noisy_frames, write_clip, write_numbered
from tests.extract.support.decoded import EVERY, WHOLE, Frames
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def process():
    process = DecodeProcess(TRUSTED)
    yield process
    process.end()


def drain(stream, sink):
    while not stream.drain_into(sink):
        pass
    return np.concatenate(sink.blocks)


@pytest.mark.parametrize("contract", [EVERY, WHOLE], ids=["bytes", "floats"])
@pytest.mark.parametrize("name", ["plain.mp4", "trimmed.mp4"])
def test_a_stream_brings_the_frames_of_a_clip_decoded_here(process, clips, name, contract):
    sink = Frames()
    found = drain(FrameStream(process, clips / name, contract), sink)
    expected = decode_clip(clips / name, contract, TRUSTED)
    assert np.array_equal(found, expected.frames)
    assert sink.expected == len(expected.frames)


@pytest.mark.parametrize("count", [1, 31, 32, 33, BLOCK_FRAMES * SLOTS, BLOCK_FRAMES * SLOTS + 1])
def test_blocks_are_whole_at_every_length(process, tmp_path, count):
    path = write_numbered(tmp_path / "a.mp4", count)
    sink = Frames()
    drain(FrameStream(process, path, EVERY), sink)
    lengths = [len(block) for block in sink.blocks]
    assert sum(lengths) == count
    assert set(lengths[:-1]) <= {BLOCK_FRAMES}


@pytest.mark.slow
def test_decoding_waits_for_whoever_reads(process, tmp_path):
    count = 3 * SLOTS * BLOCK_FRAMES
    path = write_numbered(tmp_path / "a.mp4", count)
    stream, sink = FrameStream(process, path, EVERY, "pyav"), Frames()
    block_bytes = BLOCK_FRAMES * EVERY.crop_height * EVERY.crop_width * 3
    wait_for(lambda: held_bytes(process) == SLOTS * block_bytes)
    time.sleep(0.3)
    assert held_bytes(process) == SLOTS * block_bytes
    assert len(drain(stream, sink)) == count
    assert held_bytes(process) == SLOTS * block_bytes


def test_large_frames_make_small_blocks(process, tmp_path):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(40, 64, 48))
    sink = Frames()
    drain(FrameStream(process, path, OMNIVORE), sink)
    assert len(sink.blocks) > 1
    assert max(block.nbytes for block in sink.blocks) <= 8 * 2**20


def test_a_file_refused_on_the_way_leaves_the_process_fit_for_the_next(process, clips, tmp_path):
    data = (clips / "index-first.mp4").read_bytes()
    half = tmp_path / "a.mp4"
    half.write_bytes(data[: (data.index(b"mdat") + len(data)) // 2])
    stream = FrameStream(process, half, EVERY)
    with pytest.raises(VideoRejected, match="damaged"):
        drain(stream, Frames())
    assert stream.is_reusable
    assert len(drain(FrameStream(process, clips / "plain.mp4", EVERY), Frames())) == 100


def test_a_reader_can_be_asked_for(process, clips):
    refused = FrameStream(process, clips / "trimmed.mp4", EVERY, "decord")
    with pytest.raises(VideoRejected) as caught:
        drain(refused, Frames())
    assert caught.value.code == "reader-refused"


@pytest.mark.parametrize(
    "reply",
    [
        {"shape": [32, 96, 128, 4], "offset": 0},
        {"shape": [33, 96, 128, 3], "offset": 0},
        {"shape": [1, 2**20, 2**20, 3], "offset": 0},
        {"shape": [1, 96, 128, 3], "offset": -1},
        {"shape": [1, 96, 128, 3]},
        {"shape": "frames", "offset": 0},
        {"expected": "many"},
        {"expected": 0},
        {"expected": 2**60},
        {"info": {}},
        {"failed": "RuntimeError"},
    ],
)
def test_a_process_that_talks_nonsense_is_not_believed(reply):
    class Liar:
        def send(self, request):
            pass

        def replies(self):
            yield {"expected": 40}
            yield reply

    stream = FrameStream(Liar(), __file__, EVERY)
    with pytest.raises(DecoderDied):
        stream.drain_into(Frames())
    assert not stream.is_reusable


@pytest.mark.parametrize("lengths", [[32, 9], [32, 7]], ids=["too many", "too few"])
def test_a_process_that_miscounts_its_frames_is_not_believed(lengths):
    class Liar:
        def send(self, request):
            pass

        def free_slot(self):
            pass

        def read_frames(self, shape, dtype, offset):
            return np.zeros(shape, np.uint8)

        def replies(self):
            yield {"expected": 40}
            yield from ({"shape": [length, 96, 128, 3], "offset": 0} for length in lengths)
            yield {"info": {}}

    stream = FrameStream(Liar(), __file__, EVERY)
    with pytest.raises(DecoderDied):
        stream.drain_into(Frames())
    assert not stream.is_reusable


def held_bytes(process):
    return os.fstat(process._memory).st_size
