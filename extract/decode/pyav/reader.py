"""Frame reader with PyAV, on the CPU or the video decoder of an NVIDIA GPU (NVDEC).

Reads every clip that decord may read wrong, and all long ones.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.contract import FeatureContract
from extract.decode.clip import Limits, Reader
from extract.decode.demux import open_container
from extract.decode.orientation import UPRIGHT
from extract.decode.pyav.decoder import TrackDecoder
from extract.decode.pyav.frame_skipping import SkippableFrames, rank_of, ticks_of
from extract.decode.pyav.frames import Planes, pictures_of
from extract.decode.pyav.geometry import FrameGeometry, display_matrix
from extract.decode.read_plan import PacketReport
from extract.errors import DecoderUnavailable, VideoRejected

_LIBRARIES = {
    "libcuda.so.1": "no NVIDIA driver on this machine",
    "libnvcuvid.so.1": (
        "the driver lacks its video part; a container gets it with "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    ),
}


class PyavReader(FrameGeometry):
    """A `VideoReader` for every clip that can be decoded at all.

    With `hwaccel` frames are decoded there and come back to the CPU for resizing and colour.

    Attributes:
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
        super().__init__(report.width, report.height, report.pixel_aspect, contract, limits)
        self.name: Reader = "pyav" if hwaccel is None else "nvdec"
        self._hwaccel = hwaccel
        self._path = path
        self._report = report
        self._pictures = pictures_of(contract)
        self._planes = Planes()
        self.num_decoded = 0
        self.num_refused = 0
        self.num_corrupt = 0
        self.num_unplanned = 0
        self.is_turned_by_stream = False

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
        self.num_corrupt += int(frame.is_corrupt)
        self.measure(frame)


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
