"""A stream that arrives piece by piece gives the pictures of the file that it is."""

import io
import threading
from dataclasses import replace
from fractions import Fraction
from itertools import repeat

import av
import numpy as np
import pytest
from PIL import Image

from extract.decode.clip import TRUSTED
from extract.decode.live.protocol import PICTURE_HEAD
from extract.decode.resample import read_clock, resample
from extract.decode.video import decode_clip
from extract.errors import DecoderDied, VideoRejected
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
    shown = []
    for picture in stream.pictures():
        pixels = shown[-1] if picture.pixels is None else picture.pixels
        shown += [pixels] * picture.ticks
    feeding.join()
    return stream, np.stack(shown)


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


@pytest.mark.parametrize("piece", [1, 512, 701, 1 << 20])
@pytest.mark.parametrize("name", ["fragmented", "index in front", "Matroska", "WebM"])
def test_pieces_may_be_of_any_size(process, tmp_path, name, piece):
    """FFmpeg's MP4 demuxer goes back in what it has read, wherever a piece ended."""
    path = STREAMS[name](tmp_path)
    stream = LiveStream(process, EVERY, "container")
    feeding = fed(stream, path.read_bytes(), piece)
    ticks = sum(picture.ticks for picture in stream.pictures())
    feeding.join()
    assert ticks == 50


def as_transport_stream(path):
    """The packets of a file; encoding twice need not give the same bits."""
    target = io.BytesIO()
    with av.open(str(path)) as given, av.open(target, "w", format="mpegts") as made:
        track = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                made.mux(packet)
    return target.getvalue()


def test_a_transport_stream_is_read_as_it_arrives(process, tmp_path):
    path = constant(tmp_path / "a.mkv")
    expected = decode_clip(path, EVERY, TRUSTED).frames
    _, found = streamed(process, as_transport_stream(path))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("rate", [30.0, 29.97, 25.0])
def test_a_rate_that_is_given_stands_for_the_times(process, tmp_path, rate):
    """Of pictures whose times jitter: a tick each at the clock's own rate, at once."""
    path = variable(tmp_path / "a.mkv")
    plain = constant(tmp_path / "b.mkv", rate=Fraction(rate).limit_denominator(1001))
    expected = decode_clip(plain, EVERY, TRUSTED)
    stream, found = streamed(process, path.read_bytes(), rate=rate)
    assert stream.ticks_per_s == (rate if rate > 26 else 30)
    assert len(found) == len(expected.frames)


def records(frames, times_s, encode):
    data = [encode(frame) for frame in frames]
    heads = (PICTURE_HEAD.pack(t, len(d)) for t, d in zip(times_s, data, strict=True))
    return b"".join(head + d for head, d in zip(heads, data, strict=True))


def as_picture(kind, **options):
    def encode(frame):
        target = io.BytesIO()
        Image.fromarray(frame).save(target, kind, **options)
        return target.getvalue()

    return encode


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_with_times_are_shown_when_they_are_nearest(process, kind):
    frames = noisy_frames(20, 64, 48)
    encode = as_picture(kind, **({"lossless": True} if kind == "WEBP" else {}))
    times_s = [7.0 + 0.1 * n for n in range(20)]
    stream, found = streamed(process, records(frames, times_s, encode), WHOLE, "pictures")
    assert (stream.start_s, len(found)) == (7.0, 60)
    shown = resample(read_clock(np.array(times_s), declared_rate=None), 30)
    decoded = [np.asarray(Image.open(io.BytesIO(encode(f))).convert("RGB")) for f in frames]
    closest = [
        int(np.argmin([np.abs(found[tick] - d).mean() for d in decoded])) for tick in range(60)
    ]
    assert closest == shown.tolist()
    if kind == "PNG":
        assert np.array_equal(found, np.stack([decoded[n] for n in shown]).astype(np.float32))


def test_a_picture_that_is_damaged_or_late_costs_itself(process):
    frames, encode = noisy_frames(6, 64, 48), as_picture("PNG")
    data = [encode(frame) for frame in frames]
    data[2] = data[2][:60]
    times_s = [0.0, 0.1, 0.2, 0.3, 0.15, 0.4]
    heads = (PICTURE_HEAD.pack(t, len(d)) for t, d in zip(times_s, data, strict=True))
    stream, found = streamed(
        process, b"".join(h + d for h, d in zip(heads, data, strict=True)), WHOLE, "pictures"
    )
    assert (stream.facts.frames, stream.facts.refused, stream.facts.late) == (4, 1, 1)
    assert len(found) == 15  # the last one lasts as long as those before, on average
    assert np.array_equal(found[4], found[7])  # the damaged one shows the one before


PNG = as_picture("PNG")(noisy_frames(1, 64, 48)[0])


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("container", b"", "not-a-video"),
        ("container", b"#EXTM3U\nfile:///etc/passwd\n" * 40, "not-a-video"),
        ("container", b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(600), "unsupported-container"),
        ("container", b"\x00\x00\x00\x18ftypmp42" + bytes(4000), "damaged"),
        ("pictures", PICTURE_HEAD.pack(0.0, 4) + b"<svg", "unsupported-codec"),
        ("pictures", PICTURE_HEAD.pack(float("nan"), len(PNG)) + PNG, "damaged"),
        (
            "pictures",
            PICTURE_HEAD.pack(0.0, len(PNG)) + PNG + PICTURE_HEAD.pack(90.0, len(PNG)) + PNG,
            "damaged",
        ),
        (
            "pictures",
            b"".join(PICTURE_HEAD.pack(n / 1000, len(PNG)) + PNG for n in range(300)),
            "frame-rate-too-high",
        ),
    ],
    ids=["nothing", "playlist", "AVI", "no index", "SVG", "no time", "gap", "too fast"],
)
def test_what_is_no_acceptable_stream_is_refused_with_its_reason(tmp_path, kind, data, code):
    process = DecodeProcess(replace(TRUSTED, max_fps=120.0), has_feed=True)
    try:
        with pytest.raises(VideoRejected) as refused:
            streamed(process, data, kind=kind)
        assert refused.value.code == code
    finally:
        process.end()


def test_a_picture_of_too_many_pixels_is_refused(tmp_path):
    process = DecodeProcess(replace(TRUSTED, max_pixels=1000), has_feed=True)
    try:
        with pytest.raises(VideoRejected) as refused:
            streamed(process, PICTURE_HEAD.pack(0.0, len(PNG)) + PNG, kind="pictures")
        assert refused.value.code in ("too-many-pixels", "damaged")
    finally:
        process.end()


def test_a_stream_that_nobody_reads_is_not_decoded(process, tmp_path):
    """The sender blocks; memory holds the ring and a pipe's worth of bytes."""
    data = records(noisy_frames(8, 64, 48) * 20, [n / 30 for n in range(160)], as_picture("PNG"))
    stream = LiveStream(process, EVERY, "pictures")
    feeding = fed(stream, data)
    pictures = stream.pictures()
    assert next(pictures).ticks == 1
    feeding.join(0.5)
    assert feeding.is_alive()
    assert 1 + sum(picture.ticks for picture in pictures) == 160
    feeding.join()


def test_a_picture_says_how_much_of_the_stream_it_needed(process):
    """A tick is certain when the frame after it is there, so it needs that one too."""
    frames, encode = noisy_frames(8, 64, 48), as_picture("PNG")
    data = [records([f], [n / 30], encode) for n, f in enumerate(frames)]
    stream = LiveStream(process, EVERY, "pictures")
    pictures = stream.pictures()
    for record in data[:6]:
        stream.feed(record)
    found = [next(pictures).taken for _ in range(4)]
    ends = np.cumsum([len(record) for record in data]).tolist()
    assert found == ends[1:5]
    stream.finish()
    assert [picture.taken for picture in pictures][-1] == ends[5]


@pytest.mark.parametrize(
    "reply",
    [
        {"ticks": 0, "taken": 0},
        {"ticks": -3, "taken": 0},
        {"ticks": 2**30, "taken": 0},
        {"ticks": "many", "taken": 0},
        {"ticks": 1},
        {"shape": [1, 96, 128, 3], "offset": 0, "back": 0},
        {"shape": [1, 96, 128, 3], "offset": 0, "back": 33},
        {"shape": [1, 96, 128, 3], "offset": 0, "back": None},
        {"shape": [1, 96, 128, 3], "offset": 0},
        {"shape": [1, 1, 1, 3], "offset": 0, "back": 1},
        {"shape": [1, 96, 128, 3], "offset": -1, "ticks": 1, "taken": 0},
    ],
)
def test_a_malformed_reply_is_taken_for_a_crash(process, monkeypatch, reply):
    stream = LiveStream(process, EVERY, "pictures")
    monkeypatch.setattr(process, "replies", lambda: iter([reply]))
    monkeypatch.setattr(process, "read_frames", lambda *_: pytest.fail("it was believed"))
    with pytest.raises(DecoderDied, match="malformed"):
        list(stream.pictures())


def test_a_process_that_is_killed_ends_both_sides(process, tmp_path):
    data = constant(tmp_path / "a.mkv").read_bytes()
    stream = LiveStream(process, EVERY, "container")
    stream.feed(data[: len(data) // 2])
    process.kill()
    with pytest.raises(DecoderDied):
        list(stream.pictures())
    with pytest.raises(DecoderDied):
        list(map(stream.feed, repeat(bytes(1 << 16), 100)))
