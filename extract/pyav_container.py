"""Files to packets with PyAV: opens them behind allow-lists and looks at what they hold.

Containers, decoders, protocols and pixels are on allow-lists; nothing is decoded here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from extract.clip import Limits
from extract.errors import VideoRejected
from extract.gate import PacketReport
from extract.sniff import Container

CODECS = {
    "h264": "h264",
    "hevc": "hevc",
    "vp8": "vp8",
    "vp9": "vp9",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "av1": "av1",
    "libdav1d": "av1",
    "mpeg4": "mpeg4",
    "mjpeg": "mjpeg",
}
"""Decoders that may run -> canonical name of their codec."""

_DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}


def scan_packets(path: Path, container: Container, limits: Limits) -> PacketReport:
    """Reads all packets of the video track once, decoding none.

    Raises:
        VideoRejected: not readable as its container, no video track, or a codec not accepted.
    """
    with opened(path, container, limits) as source:
        stream = video_stream(source)
        codec = _codec_of(stream)
        times: list[float] = []
        num_packets = num_hidden = 0
        is_cut = False
        time_base = stream.time_base or Fraction(1, 1000)
        try:
            for packet in source.demux(stream):
                if not packet.size:
                    continue
                num_packets += 1
                if num_packets > limits.max_frames:
                    break  # one too many is enough to refuse it
                is_cut = is_cut or packet.is_corrupt
                if packet.is_discard:
                    num_hidden += 1
                else:
                    times.append(np.nan if packet.pts is None else float(packet.pts * time_base))
        except av.error.FFmpegError:
            is_cut = True
        duration = stream.duration
        return PacketReport(
            container=container,
            codec=codec,
            width=stream.width,
            height=stream.height,
            frames_declared=stream.frames or None,
            duration_declared_s=None if duration is None else float(duration * time_base),
            rate_declared=float(stream.average_rate) if stream.average_rate else None,
            num_packets=num_packets,
            num_hidden=num_hidden,
            times_s=np.sort(np.array(times, dtype=np.float64)),
            is_cut=is_cut,
        )


@contextmanager
def opened(
    path: Path, container: Container, limits: Limits, hwaccel: HWAccel | None = None
) -> Iterator[InputContainer]:
    """Gives a file opened as the container its first bytes say it is, and as nothing else.

    Args:
        path: the file.
        container: as sniffed.
        limits: of a frame's pixels.
        hwaccel: what decodes; the CPU when None.

    Raises:
        VideoRejected: it is no such container.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _DEMUXERS[container],
        "codec_whitelist": ",".join(CODECS),
        "max_pixels": str(limits.max_pixels),
        "max_streams": "32",
        "skip_frame": "all",  # the header probe need not decode anything
    }
    try:
        source = av.open(
            str(path), "r", format=_DEMUXERS[container], options=options, hwaccel=hwaccel
        )
    except av.error.MemoryError as error:
        raise MemoryError from error
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoRejected("damaged", "the file cannot be opened as its container") from error
    with source:
        yield source


def packets_of(
    source: InputContainer, stream: VideoStream
) -> "Iterator[av.Packet[VideoStream] | None]":
    """Yields a track's packets; None where the file is cut."""
    try:
        yield from source.demux(stream)
    except av.error.FFmpegError:
        yield None  # the file is cut here: give what the decoder still holds


def video_stream(source: InputContainer) -> VideoStream:
    """Returns the first video track that is no cover picture.

    Raises:
        VideoRejected: there is none.
    """
    for stream in source.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise VideoRejected("no-video-track", "the file has no video track")


def _codec_of(stream: VideoStream) -> str:
    decoder = stream.codec_context
    codec = CODECS.get(decoder.name) if decoder is not None else None
    if codec is None:
        raise VideoRejected(
            "unsupported-codec", f"accepted codecs are {', '.join(sorted(set(CODECS.values())))}"
        )
    return codec
