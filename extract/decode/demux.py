"""Demuxing with PyAV: opens files behind allow-lists and scans the packets of a video track.

Containers, decoders and protocols are on allow-lists. The scan gives counts, presentation times,
packets hidden by an edit list, and signs that packets are not pictures; nothing is decoded here.
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
from av.stream import Disposition
from av.video.stream import VideoStream

from extract.decode.clip import Limits
from extract.decode.read_plan import PacketReport, Transfer
from extract.decode.sniff import Container
from extract.errors import VideoRejected

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
"""Codecs with sizes outside of pictures -> type of the NAL units that hold them (SPS)."""

MAX_TRACKS = 32

_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""HDR transfer characteristics of ITU-T H.273."""

_SAME_ASPECT = 0.01
_MAX_ASPECT = 4.0
_PROGRESSIVE = 1  # AVFieldOrder; 0: unknown
_NOT_CODED_BYTES = 32
_REORDER_FRAMES = 16  # the most that H.264 and HEVC can hold back
_REORDER_S = 1.0

_DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}


def scan_packets(
    path: Path, container: Container, limits: Limits, video_track: int | None = None
) -> PacketReport:
    """Reads all packets of a video track once, without decoding.

    Without a `video_track`, counted from 0, it is the one of `choose_track`.

    Raises:
        VideoRejected: not readable as its container, no such track, or a codec not accepted.
    """
    with open_container(path, container, limits) as source:
        video_track = choose_track(source, video_track)
        stream = source.streams.video[video_track]
        codec = _codec_of(stream)
        packets = _Packets(stream, codec)
        is_cut = False
        try:
            for packet in source.demux(stream):
                if packet.size:
                    packets.take(packet)
                if packets.count > limits.max_frames:
                    break  # one too many is enough to refuse the file
        except av.error.FFmpegError:
            is_cut = True
        unit = stream.time_base or Fraction(1, 1000)
        unit_s = float(unit)
        times_s = np.array(packets.times) * unit.numerator / unit.denominator
        return PacketReport(
            container=container,
            video_track=video_track,
            video_tracks=len([s for s in source.streams.video if not _is_cover(s)]),
            codec=codec,
            width=stream.width,
            height=stream.height,
            pixel_aspect=pixel_aspect_of(stream),
            transfer=_TRANSFERS.get(stream.codec_context.color_trc),
            frames_declared=stream.frames or None,
            duration_declared_s=None if stream.duration is None else stream.duration * unit_s,
            rate_declared=float(stream.average_rate) if stream.average_rate else None,
            unit_s=unit_s,
            num_packets=packets.count,
            num_hidden=packets.count - len(times_s),
            times_s=np.sort(times_s),
            last_s=packets.last_duration * unit_s or None,
            is_cut=is_cut or packets.is_cut,
            has_one_size=packets.sizes.is_one,
            is_interlaced=stream.codec_context.field_order > _PROGRESSIVE,
            needs_list=_is_doubtful(stream, codec, container, times_s, packets),
        )


class _Packets:
    """Counts and times of a track's packets.

    Attributes:
        count: packets so far.
        times: of those shown, in the container's units; nan when missing.
        first: time of the first one, shown or not.
        last_duration: of the picture of the latest time, in the same units; 0 when not stated.
        smallest: bytes of the smallest one.
        is_cut: one was truncated.
        sizes: of their pictures.
    """

    def __init__(self, stream: VideoStream, codec: str) -> None:
        self.count = 0
        self.times: list[float] = []
        self.first = self.latest = np.nan
        self.last_duration = 0
        self.smallest = 1 << 62
        self.is_cut = False
        self.sizes = _SizeWatch(stream, codec)

    def take(self, packet: "av.Packet[VideoStream]") -> None:
        """Reads a packet, which is empty afterwards."""
        time = np.nan if packet.pts is None else float(packet.pts)
        if not self.count:
            self.first = time
        self.count += 1
        self.is_cut = self.is_cut or packet.is_corrupt
        self.smallest = min(self.smallest, packet.size)
        if not packet.is_discard:
            self.times.append(time)
            if time > self.latest or np.isnan(self.latest):
                self.latest, self.last_duration = time, packet.duration or 0
        self.sizes.take(packet)


def _is_doubtful(
    stream: VideoStream, codec: str, container: Container, times_s: np.ndarray, packets: _Packets
) -> bool:
    """Returns whether packets may hold no picture, or other times than those of pictures."""
    ordered_s = np.sort(times_s)
    gaps_s = np.diff(ordered_s)
    if len(times_s) == 0:
        return False
    if not (np.isfinite(ordered_s).all() and (gaps_s > 0).all()):
        return True
    # Reordered pictures go back by a few frames; a time that goes back by more is wrong.
    back_s = (np.maximum.accumulate(times_s) - times_s).max()
    reorders = stream.codec_context.reorder_depth > 0
    return bool(
        back_s > max(_REORDER_S, _REORDER_FRAMES * np.median(gaps_s) if len(gaps_s) else 0.0)
        # Pictures before the first packet's reference one from before a cut.
        or packets.first * float(stream.time_base or 0) > ordered_s[0]
        # A not-coded frame (N-VOP) takes a few bytes.
        or (codec == "mpeg4" and packets.smallest < _NOT_CODED_BYTES)
        # AVI stores the decoding order only.
        or (container == "avi" and reorders)
    )


@contextmanager
def open_container(
    path: Path, container: Container, limits: Limits, hwaccel: HWAccel | None = None
) -> Iterator[InputContainer]:
    """Yields a file opened as the sniffed container and no other, to decode on the CPU by default.

    Raises:
        VideoRejected: it cannot be opened as that container.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _DEMUXERS[container],
        "codec_whitelist": ",".join(CODECS),
        "max_pixels": str(limits.max_pixels),
        "max_streams": str(MAX_TRACKS),
        "skip_frame": "all",  # the header probe decodes nothing
    }
    try:
        source = av.open(
            str(path), "r", format=_DEMUXERS[container], options=options, hwaccel=hwaccel
        )
    except av.error.MemoryError as error:  # also raised for too many tracks
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
    """Yields a track's packets; None where the file is truncated."""
    try:
        yield from source.demux(stream)
    except av.error.FFmpegError:
        yield None  # truncated here: flush the decoder


def choose_track(source: InputContainer, wanted: int | None = None) -> int:
    """Returns which of a file's video tracks is read, from 0.

    The first one that the file marks as default, else the first one; never a cover: an attached
    picture, or a single picture beside a film.

    Args:
        source: the file.
        wanted: the requested track, of any kind.

    Raises:
        VideoRejected: there is none, or not the requested one.
    """
    if not source.streams:
        raise VideoRejected("damaged", "the file has no track, or its index is missing")
    tracks = list(enumerate(source.streams.video))
    if wanted is not None:
        if not 0 <= wanted < len(tracks):
            raise VideoRejected(
                "no-video-track",
                f"the file has {len(tracks)} video tracks, counted from 0; there is no {wanted}",
            )
        return wanted
    films = [(index, track) for index, track in tracks if not _is_cover(track)]
    if not films:
        raise VideoRejected("no-video-track", "the file has no video track")
    films = [(index, track) for index, track in films if track.frames != 1] or films
    marked = [index for index, track in films if track.disposition & Disposition.default]
    return marked[0] if marked else films[0][0]


def _is_cover(track: VideoStream) -> bool:
    return bool(track.disposition & Disposition.attached_pic)


def pixel_aspect_of(stream: VideoStream) -> float:
    """Returns width / height of a pixel; 1 where it is nearly that, or out of range."""
    aspect = float(stream.sample_aspect_ratio or 1)
    is_square = abs(aspect - 1) < _SAME_ASPECT or not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT
    return 1.0 if is_square else aspect


class _SizeWatch:
    """Detects sizes (SPS) in packets that the file's header does not have.

    Attributes:
        is_one: none was found so far, in a codec where they can be found.
    """

    def __init__(self, stream: VideoStream, codec: str) -> None:
        self.is_one = codec in SIZE_UNITS
        if self.is_one:
            units = f"filter_units=pass_types={SIZE_UNITS[codec]}"
            self._filter = BitStreamFilterContext(units, stream)
            self._head = bytes(stream.codec_context.extradata or b"")

    def take(self, packet: "av.Packet[VideoStream]") -> None:
        """Reads a packet, which is empty afterwards."""
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
