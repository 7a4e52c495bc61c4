"""Good clips that the corpus begins with, as bytes."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np

from tests.extract.support.clips import noisy_frames, numbered_frame, write_clip
from tests.support.hostile.specimen import Bait

FRAMES = 40
"""More than a window, so that no clip is padded."""


def clip(
    bait: Bait,
    frames: int | Iterable[np.ndarray] = FRAMES,
    *,
    ending: str = "mp4",
    **options: Any,
) -> bytes:
    """Returns a clip; `options` go to `write_clip`."""
    pictures = (numbered_frame(k) for k in range(frames)) if isinstance(frames, int) else frames
    return write_clip(_path(bait, ending), pictures, **options).read_bytes()


def plain(bait: Bait) -> bytes:
    """An ordinary clip with its index at the end."""
    return clip(bait)


def index_first(bait: Bait) -> bytes:
    """An ordinary clip with its index before its pictures, a key frame every ten."""
    return clip(
        bait,
        noisy_frames(100, 64, 48),
        options={"g": "10"},
        container_options={"movflags": "faststart"},
    )


def muxed(
    bait: Bait, fill: Callable[[av.container.OutputContainer], None], *, ending: str = "mp4"
) -> bytes:
    """Returns a file that `fill` writes."""
    path = _path(bait, ending)
    with av.open(str(path), "w") as container:
        fill(container)
    return path.read_bytes()


def add_video(
    container: av.container.OutputContainer,
    *,
    codec: str = "libx264",
    frames: int = FRAMES,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
) -> Callable[[], None]:
    """Adds a numbered video track; returns what encodes it, for once all tracks are added."""
    stream = container.add_stream(codec, rate=30)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt

    def encode() -> None:
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))

    return encode


def add_tone(container: av.container.OutputContainer) -> Callable[[], None]:
    """Adds a second of a tone; returns what encodes it."""
    stream = container.add_stream("aac", rate=8000)
    stream.layout = "mono"

    def encode() -> None:
        for start in range(0, 8000, 1024):
            samples = np.sin(np.arange(start, start + 1024) / 5, dtype=np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    return encode


REPEATED = "repeat-headers=1:annexb=0"
"""Has every key frame bring the head along that says how large it is."""


def black(bait: Bait, width: int, height: int, *, frames: int = 2, codec: str = "libx264") -> bytes:
    """Returns huge black frames in a small file."""
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = (
        {"preset": "ultrafast", "threads": "1", "x264-params": REPEATED}
        if codec == "libx264"
        else {}
    )
    path = _path(bait, "mp4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        picture = av.VideoFrame(width, height, pix_fmt)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(frames):
            picture.pts, picture.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path.read_bytes()


def retimed(bait: Bait, source: bytes, ticks: Callable[[int], int]) -> bytes:
    """Returns a clip whose packets are shown at other times, in ticks of 1/30 s."""
    path = _path(bait, "mp4")
    path.write_bytes(source)

    def fill(container: av.container.OutputContainer) -> None:
        with av.open(str(path)) as read:
            stream = read.streams.video[0]
            copy = container.add_stream_from_template(stream)
            for number, packet in enumerate(p for p in read.demux(stream) if p.size):
                packet.stream = copy
                packet.time_base = Fraction(1, 30)
                packet.pts = packet.dts = ticks(number)
                packet.duration = 1
                container.mux(packet)

    return muxed(bait, fill)


def _path(bait: Bait, ending: str) -> Path:
    return bait.folder / f"{uuid4().hex}.{ending}"
