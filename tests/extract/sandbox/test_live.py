"""A stream that arrives piece by piece gives the pictures of the file that it is."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from extract.decode.clip import TRUSTED
from extract.decode.video import decode_clip
from extract.errors import DecoderDied
from extract.sandbox.live import LiveStream
from extract.sandbox.process import DecodeProcess
from tests.extract.support.clips import noisy_frames, write_clip
from tests.extract.support.decoded import EVERY, WHOLE

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
LIVE = {"g": "12", "bf": "0"}


@pytest.fixture
def process():
    process = DecodeProcess(TRUSTED, has_feed=True)
    yield process
    process.end()


def fed(stream, data, piece=4096):
    """Feeds bytes in pieces, from a thread of its own, and ends."""

    def run():
        try:
            for start in range(0, len(data), piece):
                stream.feed(data[start : start + piece])
            stream.finish()
        except DecoderDied:
            pass  # the reader is told why

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def streamed(process, data, contract=EVERY, kind="container", rate=None):
    stream = LiveStream(process, contract, kind, rate=rate)
    feeding = fed(stream, data)
    pictures = [p.pixels for p in stream.pictures() for _ in range(p.ticks)]
    feeding.join()
    return stream, np.stack(pictures)


def constant(path, **options):
    return write_clip(path, noisy_frames(50, 64, 48), options=LIVE, **options)


def variable(path, **options):
    times_ms = np.cumsum([0, *np.random.default_rng(0).integers(12, 90, 49)]).tolist()
    return write_clip(path, noisy_frames(50, 64, 48), times_ms=times_ms, options=LIVE, **options)


def reordered(path, **options):
    return write_clip(path, noisy_frames(50, 64, 48), options={"g": "12", "bf": "2"}, **options)


STREAMS = {
    "fragmented": lambda f: constant(f / "a.mp4", container_options=FRAGMENTED),
    "index in front": lambda f: constant(f / "a.mp4", container_options={"movflags": "faststart"}),
    "WebM": lambda f: write_clip(
        f / "a.webm", noisy_frames(50, 64, 48), codec="libvpx", options={"deadline": "realtime"}
    ),
    "Matroska": lambda f: constant(f / "a.mkv"),
    "25 a second": lambda f: constant(f / "a.mp4", rate=25, container_options=FRAGMENTED),
    "120 a second": lambda f: constant(f / "a.mp4", rate=120, container_options=FRAGMENTED),
    "variable rate": lambda f: variable(f / "a.mkv"),
    "turned": lambda f: constant(f / "a.mp4", rotation=90, container_options=FRAGMENTED),
    "reordered": lambda f: reordered(f / "a.mp4", container_options=FRAGMENTED),
    "10 bits": lambda f: constant(f / "a.mkv", pix_fmt="yuv420p10le"),
}


TURNED = replace(WHOLE, crop_height=40, crop_width=40)


@pytest.mark.parametrize("contract", [EVERY, TURNED], ids=["bytes", "floats"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_gives_the_pictures_of_its_file(process, tmp_path, name, contract):
    path = STREAMS[name](tmp_path)
    expected = decode_clip(path, contract, TRUSTED)
    stream, found = streamed(process, path.read_bytes(), contract)
    assert stream.start_s == pytest.approx(expected.info.start_s, abs=1e-3)
    assert np.array_equal(found, expected.frames)
    assert stream.facts.refused == stream.facts.late == 0
    assert (stream.facts.width, stream.facts.height) == (expected.info.width, expected.info.height)
