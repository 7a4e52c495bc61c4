"""Frame skipping: non-reference (disposable) frames that no window uses are not decoded."""

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
"""Largest file that is copied: the copy is held in memory twice."""


class SkippableFrames:
    """The packets of frames that no window uses, in codecs that mark disposable frames.

    Reference frames are among them: the decoder skips the disposable ones only. Frames are
    identified by their times, so these must be known. VP8, VP9, AV1 and motion JPEG have no
    disposable frames, or decoders that ignore the mark; an MPEG-4 packet may hold two pictures. In
    HEVC with temporal sub-layers the mark covers references from the same layer only.

    Attributes:
        is_any: there may be such packets in this track.

    Args:
        stream: the track.
        ticks: of `ticks_of`.
        repeats: (n,) number of wanted ticks of each source frame.
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
    """Copy of a video track without the disposable frames that no window uses.

    Attributes:
        file: the whole copy, at its first byte.
        kept: (m,) int64, the source frame of each of its frames, increasing.
    """

    file: BytesIO
    kept: np.ndarray


def without_skippable(
    path: Path, report: PacketReport, repeats: np.ndarray, limits: Limits
) -> ReducedCopy | None:
    """Returns a file's video track without the disposable frames that no window uses.

    For a reader that cannot skip frames itself: of the copy it gives the same pictures, bit for
    bit, only fewer.

    Args:
        path: the file.
        report: of its packets.
        repeats: (n,) number of wanted ticks of each source frame.
        limits: of a frame's pixels.

    Returns:
        None where no frame would be left out, or the file is too large to be copied.

    Raises:
        FFmpegError: the copy cannot be written.
    """
    if path.stat().st_size > _MAX_COPY_MB * 2**20:
        return None
    with open_container(path, report.container, limits) as source:
        stream = source.streams.video[report.video_track]
        ticks = ticks_of(report)
        skippable = SkippableFrames(stream, ticks, repeats)
        if not skippable.is_any:
            return None
        non_reference = BitStreamFilterContext("filter_units=discard=nonref", stream)
        # The filter consumes its packet and re-encodes the rest, so it gets a copy.
        packets = [
            packet
            for packet in packets_of(source, stream)
            if packet is not None
            and packet.size
            and not (packet in skippable and not non_reference.filter(av.Packet(bytes(packet))))
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
    """Returns a file of a track's packets, in decoding order, with new decoding times.

    Files may lack decoding times, or those of the first packets; each is set as late as every
    picture is decoded before its presentation.
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
    """Returns presentation times of the frames shown, (n,) int64, increasing, in container units.

    Empty where frames are identified by their order alone.
    """
    if report.is_listed or report.needs_list:
        return np.zeros(0, dtype=np.int64)
    return np.rint(report.times_s / report.unit_s).astype(np.int64)


def rank_of(ticks: np.ndarray, pts: int | None, *, default: int) -> int:
    """Returns the index of the frame with a presentation time; -1 where there is none."""
    if not len(ticks):
        return default
    if pts is None:
        return -1
    rank = int(np.searchsorted(ticks, pts))
    return rank if rank < len(ticks) and ticks[rank] == pts else -1
