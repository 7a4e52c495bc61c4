"""Frame reader with PyAV, on the CPU or the video decoder of an NVIDIA GPU (NVDEC).

Reads every clip that decord may read wrong, and all long ones.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.codec import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.sidedata.sidedata import SideDataContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.contract import FeatureContract
from extract.decode.clip import Limits, Reader
from extract.decode.demux import open_container
from extract.decode.orientation import UPRIGHT, Orientation
from extract.decode.pyav.decoder import TrackDecoder
from extract.decode.pyav.frame_skipping import SkippableFrames, rank_of, ticks_of
from extract.decode.pyav.frames import Planes, Shown, pictures_of
from extract.decode.read_plan import PacketReport, check_frame, check_frame_pixels
from extract.errors import DecoderUnavailable, VideoRejected

_LIBRARIES = {
    "libcuda.so.1": "no NVIDIA driver on this machine",
    "libnvcuvid.so.1": (
        "the driver lacks its video part; a container gets it with "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    ),
}


class PyavReader:
    """A `VideoReader` for every clip that can be decoded at all.

    With `hwaccel` frames are decoded there and come back to the CPU for resizing and colour.

    Attributes:
        shown: geometry of the last frame.
        is_turned_by_stream: after `peek`, whether the orientation comes from the stream's SEI
            messages, not from the container.
    """

    def __init__(
        self,
        path: Path,
        report: PacketReport,
        contract: FeatureContract,
        limits: Limits,
        hwaccel: HWAccel | None = None,
    ) -> None:
        self.name: Reader = "pyav" if hwaccel is None else "nvdec"
        self._hwaccel = hwaccel
        self._path = path
        self._report = report
        self._contract = contract
        self._limits = limits
        self._pictures = pictures_of(contract)
        self._planes = Planes()
        self.num_decoded = 0
        self.num_refused = 0
        self.num_corrupt = 0
        self.num_unplanned = 0
        self.width = 0
        self.height = 0
        self.orientation = UPRIGHT
        self.is_turnable = True
        self.pixel_aspect = 1.0
        self.is_turned_by_stream = False
        self.shown = Shown(0, 0, 0, 0, UPRIGHT)
        self._measured: object = None

    def frames(self, repeats: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (source frame, picture) of every needed frame; the next may overwrite it.

        Args:
            repeats: (n,) number of wanted ticks of each source frame.

        Raises:
            VideoRejected: a frame is too large, or the file cannot be decoded at all.
        """
        report = self._report
        with open_container(self._path, report.container, self._limits, self._hwaccel) as source:
            stream = source.streams.video[report.video_track]
            ticks = ticks_of(report)
            skippable = SkippableFrames(stream, ticks, repeats)
            decoder = TrackDecoder(source, stream, self._limits)

            def set_skipping(packet: "av.Packet[VideoStream] | None") -> None:
                stream.codec_context.skip_frame = "NONREF" if packet in skippable else "DEFAULT"

            last = -1
            for frame in decoder.frames(set_skipping):
                self.num_refused = decoder.num_refused
                index = rank_of(ticks, frame.pts, default=last + 1)
                if not last < index < len(repeats):
                    self.num_unplanned += 1
                    continue
                last = index
                self._measure(frame)
                if repeats[index]:
                    self.num_decoded += 1
                    yield index, self._pictures.picture(self._planes.of(frame), self.shown)
            self.num_refused = decoder.num_refused

    def peek(self) -> None:
        """Decodes one frame, for the true size and orientation.

        Raises:
            VideoRejected: it is too large, or there is none.
        """
        for is_impatient in (True, False):
            with open_container(self._path, self._report.container, self._limits) as source:
                stream = source.streams.video[self._report.video_track]
                decoder, packets = TrackDecoder(source, stream, self._limits), _Packets()
                for frame in decoder.frames(packets.take, is_impatient=is_impatient):
                    self._measure(frame)
                    if self.orientation != UPRIGHT:
                        self.is_turned_by_stream = packets.turn(stream)
                    return
        raise VideoRejected("damaged", "no frame could be decoded")

    def _measure(self, frame: VideoFrame) -> None:
        """Notes a frame's geometry; a stream may state it once, for all frames that follow."""
        self.num_corrupt += int(frame.is_corrupt)
        if (matrix := display_matrix(frame)) is not None:
            orientation = Orientation.of_matrix(matrix)
            self.is_turnable = orientation is not None
            self.orientation = orientation or UPRIGHT
        key = (frame.width, frame.height, self.orientation)
        if key == self._measured:
            return
        columns, rows = self.orientation.size(frame.width, frame.height)
        report = self._report
        # A header with a wrong size has a wrong pixel aspect, too.
        is_known = (frame.width, frame.height) == (report.width, report.height)
        self.pixel_aspect = report.pixel_aspect if is_known else 1.0
        shown_width = max(1, round(frame.width * self.pixel_aspect))
        width, height = self.orientation.size(shown_width, frame.height)
        if self._contract.view == "left":
            columns, width = columns // 2, width // 2
        check_frame_pixels(frame.width, frame.height, self._limits)
        check_frame(width, height, self._contract, self._limits)
        self.shown = Shown(width, height, columns, rows, self.orientation)
        self.width, self.height, self._measured = width, height, key


class _Packets:
    """A track's first packets, to be decoded again without their container's side data."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []

    def take(self, packet: "av.Packet[VideoStream] | None") -> None:
        """Copies a packet."""
        if packet is not None and packet.size:
            self._packets.append(bytes(packet))

    def turn(self, stream: VideoStream) -> bool:
        """Returns whether the stream itself has a display matrix."""
        alone = cast(VideoCodecContext, CodecContext.create(stream.codec_context.codec, "r"))
        alone.extradata = stream.codec_context.extradata
        packets = [av.Packet(data) for data in self._packets]
        try:
            frames = [frame for packet in (*packets, None) for frame in alone.decode(packet)]
        except av.error.FFmpegError:
            return True
        return any(display_matrix(frame) is not None for frame in frames)


def display_matrix(frame: VideoFrame) -> bytes | None:
    """Returns the display matrix that comes with a frame, from its container or its stream.

    Not through `frame.side_data`: that makes a reference cycle, which keeps the frame alive until
    garbage collection, and the decoder would allocate new memory for every frame meanwhile.
    """
    data = cast(Any, SideDataContainer)(frame).get("DISPLAYMATRIX")
    return None if data is None else bytes(data)


def nvdec() -> HWAccel:
    """Returns the hardware decoder of an NVIDIA GPU; streams it cannot decode stay on the CPU.

    Raises:
        DecoderUnavailable: this machine has none; names what is missing.
    """
    if "cuda" not in hwdevices_available():
        raise DecoderUnavailable(
            "reader nvdec: this build of av lacks CUDA; use the wheel for Linux on x86-64, "
            "or reader auto"
        )
    for library, meaning in _LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise DecoderUnavailable(
                f"reader nvdec: {library} is missing ({meaning}); use reader auto"
            ) from error
    return HWAccel("cuda", allow_software_fallback=True)
