"""Live sources, opened here and not by the server: a camera, a file played, an address, a pipe."""

import io
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from clients.api.outgoing import Picture

PIPE = "-"
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
CLUSTER_MS = 100
"""Length of a piece of a film that is sent as it is, which adds to the lag."""

_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}:none", "avfoundation")}
"""Platform -> address of a camera, and the device that FFmpeg opens it with."""

_PIECE_BYTES = 1 << 16
_JPEG_QUALITY = 90


def camera(number: int, stopped: threading.Event) -> Iterator[Picture]:
    """Yields a camera's pictures until `stopped`, those of a camera that sends JPEG as they are.

    Raises:
        OSError: it cannot be opened.
    """
    if sys.platform not in _CAMERAS:
        raise OSError(f"cameras are not opened on {sys.platform}; pipe a stream into `live -`")
    address, device = _CAMERAS[sys.platform]
    with _opened(address.format(number), format=device) as source:
        yield from _pictures(source, stopped)


def film(source: str, stopped: threading.Event, *, paced: bool = True) -> Iterator[bytes]:
    """Yields a file or an address as pieces of Matroska, its pictures as they are.

    Args:
        source: path or address, such as rtsp://camera.local/stream.
        stopped: ends it.
        paced: in the time of the pictures; an address has a time of its own.

    Raises:
        OSError: it cannot be opened.
    """
    options = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
    with _opened(source, options=options) as read:
        yield from _pieces(read, stopped, paced=paced and not ADDRESS.match(source))


def pipe(source: BinaryIO, stopped: threading.Event) -> Iterator[bytes]:
    """Yields the pieces of a container that comes through a pipe."""
    read = getattr(source, "read1", source.read)
    while not stopped.is_set() and (data := read(_PIECE_BYTES)):
        yield data


def _opened(address: str, **how: Any) -> InputContainer:
    try:
        return cast(InputContainer, av.open(address, "r", **how))
    except av.error.FFmpegError as error:
        raise OSError(f"{address} cannot be opened: {error.strerror}") from error


def _video_of(source: InputContainer) -> VideoStream:
    if not source.streams.video:
        raise OSError("the source has no video track")
    return source.streams.video[0]


def _pictures(source: InputContainer, stopped: threading.Event) -> Iterator[Picture]:
    stream = _video_of(source)
    is_jpeg = stream.codec_context.name == "mjpeg"
    begun_s: float | None = None
    for packet in source.demux(stream):
        if stopped.is_set():
            return
        now_s = time.monotonic()  # clocks of cameras are of many kinds
        begun_s = now_s if begun_s is None else begun_s
        if is_jpeg and packet.size:
            yield now_s - begun_s, bytes(packet)
        elif not is_jpeg:
            for frame in packet.decode():
                yield now_s - begun_s, _jpeg(frame)


def _jpeg(frame: VideoFrame) -> bytes:
    target = io.BytesIO()
    Image.fromarray(frame.to_ndarray(format="rgb24")).save(target, "JPEG", quality=_JPEG_QUALITY)
    return target.getvalue()


class _Pieces:
    """File that a muxer writes to, and that gives what was written; not seekable."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Returns what was written since the last call."""
        data, self._written = b"".join(self._written), []
        return data


def _pieces(source: InputContainer, stopped: threading.Event, *, paced: bool) -> Iterator[bytes]:
    stream, target = _video_of(source), _Pieces()
    options = {"cluster_time_limit": str(CLUSTER_MS), "flush_packets": "1"}
    copied = av.open(cast(Any, target), "w", format="matroska", options=options)
    with copied:
        copy = copied.add_stream_from_template(stream)
        begun_s, first_s = time.monotonic(), None
        for packet in source.demux(stream):
            if not packet.size:
                continue
            if packet.dts is not None and packet.time_base is not None and paced:
                at_s = float(packet.dts * packet.time_base)
                first_s = at_s if first_s is None else first_s
                stopped.wait(max(0.0, at_s - first_s - (time.monotonic() - begun_s)))
            if stopped.is_set():
                break
            packet.stream = copy
            copied.mux(packet)
            if data := target.take():
                yield data
    if data := target.take():
        yield data
