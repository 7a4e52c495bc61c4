"""Pictures that nobody wants and no other picture refers to: they need not be decoded."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from extract.decode.clip import Limits
from extract.decode.demux import CODECS, open_container, packets_of
from extract.decode.read_plan import PacketReport

_SUB_LAYERS = 21
"""Byte of HEVC's `hvcC` record whose bits 3 to 5 count temporal sub-layers."""

_MAX_COPY_MB = 64
"""Of a larger file no copy is made: its reader would hold it in memory twice."""


class SkippableFrames:
    """The packets whose pictures nobody wants, where they can be told apart.

    Those that other pictures refer to are among them. Frames are told apart by their times
    alone, so these must be known. VP8, VP9, AV1 and motion JPEG have no pictures that none refers
    to, or decoders that do not look; an MPEG-4 packet may hold two pictures. In HEVC with temporal
    sub-layers the mark means only that no picture of the same layer refers to it.

    Attributes:
        is_any: there may be such packets in this track.

    Args:
        stream: the track.
        ticks: of `ticks_of`.
        repeats: (n,) on how many wanted ticks each source frame is shown.
    """

    def __init__(self, stream: VideoStream, ticks: np.ndarray, repeats: np.ndarray) -> None:
        self._ticks = ticks
        self._repeats = repeats
        decoder = stream.codec_context
        codec, head = CODECS.get(decoder.name), decoder.extradata or b""
        has_one_layer = len(head) > _SUB_LAYERS and head[0] == 1 and head[_SUB_LAYERS] >> 3 & 7 == 1
        is_marked = codec == "h264" or (codec == "hevc" and has_one_layer)
        self.is_any = is_marked and len(ticks) > 0 and not repeats.all()

    def __contains__(self, packet: "av.Packet[VideoStream] | None") -> bool:
        if packet is None or packet.pts is None or not self.is_any:
            return False
        index = rank_of(self._ticks, packet.pts, default=-1)
        return index >= 0 and not self._repeats[index]


@dataclass(frozen=True, eq=False)
class ReducedCopy:
    """A copy of a video track that lacks spare pictures.

    Attributes:
        file: the whole copy, from its first byte.
        kept: (m,) int64, the source frame of each of its frames, increasing.
    """

    file: BytesIO
    kept: np.ndarray


def without_skippable(
    path: Path, report: PacketReport, repeats: np.ndarray, limits: Limits
) -> ReducedCopy | None:
    """Returns a file's video track without pictures that are spare and not referred to.

    For a reader that cannot be told to leave pictures out: what it gives of the copy are the same
    pictures, bit for bit, only fewer.

    Args:
        path: the file.
        report: what its packets say.
        repeats: (n,) on how many wanted ticks each source frame is shown.
        limits: of a frame's pixels.

    Returns:
        None where that would leave nothing out, or the file is too large to be copied.

    Raises:
        FFmpegError: the copy cannot be written.
    """
    if path.stat().st_size > _MAX_COPY_MB * 2**20:
        return None
    with open_container(path, report.container, limits) as source:
        stream = source.streams.video[report.video_track]
        ticks = ticks_of(report)
        spare = SkippableFrames(stream, ticks, repeats)
        if not spare.is_any:
            return None
        without_leaves = BitStreamFilterContext("filter_units=discard=nonref", stream)
        # The filter empties what it is given, and writes what remains another way.
        packets = [
            packet
            for packet in packets_of(source, stream)
            if packet is not None
            and packet.size
            and not (packet in spare and not without_leaves.filter(av.Packet(bytes(packet))))
        ]
        if len(packets) == report.num_packets:
            return None
        shown = np.array([packet.pts for packet in packets], dtype=np.int64)
        kept = np.flatnonzero(np.isin(ticks, shown))
        return ReducedCopy(_written(packets, stream, shown, ticks[kept]), kept)


def _written(
    packets: "list[av.Packet[VideoStream]]",
    stream: VideoStream,
    shown: np.ndarray,
    ordered: np.ndarray,
) -> BytesIO:
    """A file of a track's packets in the order of decoding, shown at these times.

    Files need not say when to decode a picture, or say so only after the first ones; here each is
    decoded as late as all are in time for their show.
    """
    decoded = ordered - (ordered - shown).max()
    file = BytesIO()
    with av.open(file, "w", format="mov") as target:
        track = target.add_stream_from_template(stream)
        for packet, tick in zip(packets, decoded, strict=True):
            packet.stream, packet.dts = track, int(tick)
            target.mux(packet)
    file.seek(0)
    return file


def ticks_of(report: PacketReport) -> np.ndarray:
    """Presentation times of the frames shown, (n,) int64, increasing, in the container's units.

    Empty where frames are told apart by their order alone.
    """
    if report.is_listed or report.needs_list:
        return np.zeros(0, dtype=np.int64)
    return np.rint(report.times_s / report.unit_s).astype(np.int64)


def rank_of(ticks: np.ndarray, pts: int | None, *, default: int) -> int:
    """Position of a presentation time among the frames shown; -1: there is none of that time."""
    if not len(ticks):
        return default
    if pts is None:
        return -1
    rank = int(np.searchsorted(ticks, pts))
    return rank if rank < len(ticks) and ticks[rank] == pts else -1
