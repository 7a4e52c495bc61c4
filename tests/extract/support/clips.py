"""Small clips made on the spot; every frame of a numbered clip shows its own number."""

import io
import os
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8


def numbered_frame(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame of eight vertical bars, the bits of its number, the lowest at the left."""
    bits = (number >> np.arange(BITS)) & 1
    columns = bits[np.arange(width) * BITS // width]
    row = np.where(columns[:, None] == 1, 235, 16).astype(np.uint8)
    return np.broadcast_to(row, (height, width, 3)).copy()


def read_number(frame: np.ndarray) -> int:
    """The number a frame shows."""
    height, width = frame.shape[:2]
    middles = (np.arange(BITS) * 2 + 1) * width // (2 * BITS)
    grey = frame[height // 4 : 3 * height // 4, :, 1][:, middles].mean(axis=0)
    return int(((grey > 128) << np.arange(BITS)).sum())


def noisy_frames(count: int, width: int, height: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of smooth moving colour with noise on top: any two readers' scaling shows."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for k in range(count):
        colour = np.stack([x * 3 + k * 5, y * 4 + k * 3, x + y + k * 7], axis=-1) % 256
        noise = generator.integers(-30, 31, (height, width, 3))
        frames.append(np.clip(colour + noise, 0, 255).astype(np.uint8))
    return frames


@contextmanager
def own_scheduling():
    """Keeps the calling thread's scheduling policy, for children that are started later.

    SVT-AV1 gives the thread that opens it a real-time policy where it may (for root).
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, policy, parameters)


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    rate: Fraction | int = 30,
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    pix_fmt: str = "yuv420p",
    format: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes frames as a video; the ending of `path` names the container."""
    opened = av.open(str(path), "w", format=format, options=container_options or {})
    with own_scheduling(), opened as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pix_fmt
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, array in enumerate(frames):
            if number == 0:
                stream.height, stream.width = array.shape[:2]
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if times_ms is not None:
                frame.time_base = Fraction(1, 1000)
                frame.pts = times_ms[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_numbered(path: Path, count: int, **options) -> Path:
    """Writes a clip whose frames show 0, 1, 2, ..."""
    return write_clip(path, (numbered_frame(k) for k in range(count)), **options)


def trim_by_copy(source: Path, target: Path, first: int) -> Path:
    """Copies the packets, with an edit list that hides the first `first` frames."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        ticks = int(round(first / stream.average_rate / stream.time_base))
        for packet in read.demux(stream):
            if packet.dts is None:
                continue
            packet.stream = copy
            packet.pts -= ticks
            packet.dts -= ticks
            write.mux(packet)
    return target


def write_audio_only(path: Path) -> Path:
    """Writes a tone, no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        for start in range(0, 8000, 1024):
            samples = np.sin(np.arange(start, start + 1024) / 5, dtype=np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 8000
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def png_bytes() -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        frame = av.VideoFrame.from_ndarray(numbered_frame(5), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def joined(paths: Sequence[Path], to: Path) -> Path:
    """Copies the packets of clips of one codec behind the head of the first."""
    with av.open(str(to), "w") as container:
        with av.open(str(paths[0])) as first:
            stream = container.add_stream_from_template(first.streams.video[0])
        at = 0
        for path in paths:
            with av.open(str(path)) as source:
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = stream, at, at
                        container.mux(packet)
                        at += packet.duration
    return to
