"""Files to packets with PyAV: opens them behind allow-lists and looks at what they hold.

Containers, decoders, protocols and pixels are on allow-lists; nothing is decoded here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
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

SIZE_UNITS = {"h264": "7", "hevc": "33"}
"""Codecs that keep sizes apart from pictures -> type of the NAL units that say them."""

MAX_TRACKS = 32

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
        sizes = _SizeWatch(stream, codec)
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
                sizes.take(packet)
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
            has_one_size=sizes.is_one,
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
        "max_streams": str(MAX_TRACKS),
        "skip_frame": "all",  # the header probe need not decode anything
    }
    try:
        source = av.open(
            str(path), "r", format=_DEMUXERS[container], options=options, hwaccel=hwaccel
        )
    except av.error.MemoryError as error:  # what the library calls too many tracks, too
        raise VideoRejected(
            "unsupported-container",
            f"the file has more than {MAX_TRACKS} tracks, or an index too large for our memory",
        ) from error
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
    if not source.streams:
        raise VideoRejected("damaged", "the file has no track, or its index is missing")
    for stream in source.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise VideoRejected("no-video-track", "the file has no video track")


class _SizeWatch:
    """Looks for sizes in packets that the head of the file does not have.

    Attributes:
        is_one: none was found so far, and they would have been.
    """

    def __init__(self, stream: VideoStream, codec: str) -> None:
        self.is_one = codec in SIZE_UNITS
        if self.is_one:
            units = f"filter_units=pass_types={SIZE_UNITS[codec]}"
            self._filter = BitStreamFilterContext(units, stream)
            self._head = bytes(stream.codec_context.extradata or b"")

    def take(self, packet: "av.Packet[VideoStream]") -> None:
        """Looks at a packet, which is empty afterwards."""
        if not self.is_one:
            return
        self.is_one = not packet.has_sidedata("new_extradata")
        try:
            for found in self._filter.filter(packet):
                unit = bytes(found)[4:]  # after its start code
                self.is_one = self.is_one and unit in self._head
        except av.error.FFmpegError:
            self.is_one = False


def _codec_of(stream: VideoStream) -> str:
    decoder = stream.codec_context
    codec = CODECS.get(decoder.name) if decoder is not None else None
    if codec is None:
        raise VideoRejected(
            "unsupported-codec", f"accepted codecs are {', '.join(sorted(set(CODECS.values())))}"
        )
    return codec
