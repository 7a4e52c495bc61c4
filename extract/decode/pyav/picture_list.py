"""Picture list: the pictures that a file really holds, and their times, by decoding it once.

For files whose packets are not pictures one to one: some hold none, some a field, some reference a
picture from before a cut; and times may be missing, doubled or out of order.
"""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.decode.clip import Limits
from extract.decode.demux import open_container
from extract.decode.pyav.decoder import TrackDecoder
from extract.decode.read_plan import PacketReport, check_frame_pixels
from extract.errors import VideoRejected

_RASL = "filter_units=pass_types=8-9"
"""HEVC's RASL pictures, which cannot be decoded after a cut; the decoder drops them silently."""

_FIRST_FRAMES = 24
"""More than a decoder holds back, so that its delay is not taken for fields."""


def list_pictures(path: Path, report: PacketReport, limits: Limits) -> PacketReport:
    """Returns the report with the times of the pictures that a decoder gives, in its order.

    Raises:
        VideoRejected: a frame is too large, or the file cannot be decoded at all.
    """
    with open_container(path, report.container, limits) as source:
        stream = source.streams.video[report.video_track]
        decoder = TrackDecoder(source, stream, limits)
        times = _OrderTimes() if report.container == "avi" else _BestTimes()
        leading, last = _LeadingPictures(stream, report.codec), 0
        for frame in decoder.frames(leading.take):
            check_frame_pixels(frame.width, frame.height, limits)
            times.take(frame)
            last = frame.duration or 0
    if not times.found:
        raise VideoRejected("damaged", "no frame could be decoded")
    num_lost = 0
    if report.codec == "hevc":
        num_lost = report.num_shown - leading.count - decoder.num_refused - len(times.found)
    return replace(
        report,
        times_s=np.array(times.found) * report.unit_s,
        last_s=last * report.unit_s or None,
        is_listed=True,
        num_lost=max(0, num_lost),
    )


def comes_in_fields(path: Path, report: PacketReport, limits: Limits) -> bool:
    """Returns whether the first pictures of an interlaced track take two packets each.

    Raises:
        VideoRejected: the file cannot be opened.
    """
    num_packets = num_frames = 0

    def count(packet: "av.Packet[VideoStream] | None") -> None:
        nonlocal num_packets
        num_packets += packet is not None and packet.size > 0

    with open_container(path, report.container, limits) as source:
        stream = source.streams.video[report.video_track]
        for _ in TrackDecoder(source, stream, limits).frames(count):
            num_frames += 1
            if num_frames == _FIRST_FRAMES:
                break
    return num_packets >= 2 * num_frames


class _BestTimes:
    """Best-effort time of every frame, as in FFmpeg: its presentation or its decoding time.

    The one of the two that went backwards less often so far.

    Attributes:
        found: of all frames so far, in the container's units; nan where there is none.
    """

    def __init__(self) -> None:
        self.found: list[float] = []
        self._last_pts = self._last_dts = -np.inf
        self._bad_pts = self._bad_dts = 0

    def take(self, frame: VideoFrame) -> None:
        """Adds a frame's time."""
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._bad_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._bad_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        best = dts
        if pts is not None and (self._bad_pts <= self._bad_dts or dts is None):
            best = pts
        self.found.append(np.nan if best is None else float(best))


class _OrderTimes:
    """Time of every frame of a container that stores the decoding order only.

    Attributes:
        found: of all frames so far, in the container's units.
    """

    def __init__(self) -> None:
        self.found: list[float] = []
        self._next = 0.0

    def take(self, frame: VideoFrame) -> None:
        """Adds a frame's time; flushed frames without one follow at once."""
        self.found.append(self._next if frame.dts is None else float(frame.dts))
        self._next = self.found[-1] + (frame.duration or 1)


class _LeadingPictures:
    """Counts HEVC's packets of RASL pictures."""

    def __init__(self, stream: VideoStream, codec: str) -> None:
        self.count = 0
        self._filter = BitStreamFilterContext(_RASL, stream) if codec == "hevc" else None

    def take(self, packet: "av.Packet[VideoStream] | None") -> None:
        """Reads a packet without consuming it."""
        if self._filter is None or packet is None or not packet.size:
            return
        try:
            self.count += any(found.size for found in self._filter.filter(av.Packet(bytes(packet))))
        except av.error.FFmpegError:
            return
