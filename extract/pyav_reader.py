"""Files to frames with PyAV: reads every clip that decord may not, and all long ones."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.clip import Limits, Reader
from extract.contract import FeatureContract
from extract.errors import VideoRejected
from extract.gate import PacketReport, check_frame
from extract.pyav_container import CODECS, opened, packets_of, video_stream
from extract.pyav_pictures import TURNS, Shown, pictures_of

_SUB_LAYERS = 21
"""Byte of HEVC's `hvcC` record whose bits 3 to 5 count temporal sub-layers."""


class PyavReader:
    """A `VideoReader` for every clip that can be decoded at all.

    Args:
        path: the clip.
        report: what its packets say.
        contract: how frames are to be delivered.
        limits: of a frame's pixels.
        hwaccel: what decodes instead of the CPU; resizing and colour stay the same code.
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
        self.num_decoded = 0
        self.num_refused = 0
        self.num_corrupt = 0
        self.width = 0
        self.height = 0
        self.rotation = 0

    def frames(self, repeats: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (source frame, picture) of every frame that is wanted; the next may overwrite it.

        Args:
            repeats: (n,) on how many wanted ticks each source frame is shown.

        Raises:
            VideoRejected: a frame is too large, or the file cannot be decoded at all.
        """
        container, limits = self._report.container, self._limits
        with opened(self._path, container, limits, self._hwaccel) as source:
            stream = video_stream(source)
            ticks = self._ticks(stream)
            last = -1
            for frame in self._decoded(source, stream, _Spare(stream, ticks, repeats)):
                index = _rank(ticks, frame.pts, default=last + 1)
                if not last < index < len(repeats):
                    self.num_refused += 1
                    continue
                last = index
                self._measure(frame)
                if repeats[index]:
                    self.num_decoded += 1
                    shown = Shown(self.width, self.height, self.rotation)
                    yield index, self._pictures.picture(frame, shown)

    def peek(self) -> None:
        """Decodes one frame, to know the true size and rotation.

        Raises:
            VideoRejected: it is too large, or there is none.
        """
        with opened(self._path, self._report.container, self._limits) as source:
            for frame in self._decoded(source, video_stream(source)):
                self._measure(frame)
                return
        raise VideoRejected("damaged", "no frame could be decoded")

    def _ticks(self, stream: VideoStream) -> np.ndarray:
        """Presentation times of the frames shown, (n,) int64, increasing; empty: count them.

        AVI stores no presentation times: what its packets carry is the order of decoding.
        """
        times_s, time_base = self._report.times_s, stream.time_base
        if self._report.container == "avi" or time_base is None:
            return np.zeros(0, dtype=np.int64)
        if np.isnan(times_s).any() or not (np.diff(times_s) > 0).all():
            return np.zeros(0, dtype=np.int64)
        return np.rint(times_s / float(time_base)).astype(np.int64)

    def _decoded(
        self, source: InputContainer, stream: VideoStream, spare: "_Spare | None" = None
    ) -> Iterator[VideoFrame]:
        """Yields frames packet by packet, so that an error costs one packet and not the rest.

        Without `spare` what the decoder holds is asked for after each packet: good for one frame.
        """
        decoder = stream.codec_context
        # Options given at open act on the header probe only.
        decoder.options = {
            "codec_whitelist": ",".join(CODECS),
            "max_pixels": str(self._limits.max_pixels),
        }
        decoder.thread_count = 1
        for packet in packets_of(source, stream):
            try:
                if spare is not None:
                    decoder.skip_frame = "NONREF" if packet in spare else "DEFAULT"
                yield from decoder.decode(packet)
                if spare is None:
                    yield from decoder.decode(None)
            except av.error.EOFError:
                return
            except av.error.MemoryError as error:
                raise MemoryError from error
            except (av.error.FFmpegError, ValueError) as error:
                if isinstance(error, av.error.DecoderNotFoundError):
                    raise VideoRejected("unsupported-codec", "the codec is not accepted") from error
                self.num_refused += 1

    def _measure(self, frame: VideoFrame) -> None:
        self.num_corrupt += int(frame.is_corrupt)
        rotation = round(frame.rotation) % 360
        self.rotation = rotation if rotation in TURNS else 0
        width, height = frame.width, frame.height
        if self.rotation in (90, 270):
            width, height = height, width
        if self._contract.view == "left":
            width //= 2
        if (width, height) != (self.width, self.height):
            check_frame(width, height, self._contract, self._limits)
            self.width, self.height = width, height


class _Spare:
    """The packets whose pictures nobody wants, where the decoder may be told so.

    It then leaves out those that no other picture refers to. Frames are told apart by their times
    alone, so these must be known. VP8, VP9, AV1 and motion JPEG have no such pictures, or decoders
    that do not look; an MPEG-4 packet may hold two pictures. In HEVC with temporal sub-layers the
    mark means only that no picture of the same layer refers to it.
    """

    def __init__(self, stream: VideoStream, ticks: np.ndarray, repeats: np.ndarray) -> None:
        self._ticks = ticks
        self._repeats = repeats
        decoder = stream.codec_context
        codec, head = CODECS.get(decoder.name), decoder.extradata or b""
        has_one_layer = len(head) > _SUB_LAYERS and head[0] == 1 and head[_SUB_LAYERS] >> 3 & 7 == 1
        self._is_any = codec == "h264" or (codec == "hevc" and has_one_layer)

    def __contains__(self, packet: "av.Packet[VideoStream] | None") -> bool:
        if packet is None or packet.pts is None or not self._is_any or not len(self._ticks):
            return False
        index = _rank(self._ticks, packet.pts, default=-1)
        return index >= 0 and not self._repeats[index]


def _rank(ticks: np.ndarray, pts: int | None, *, default: int) -> int:
    """Position of a presentation time among the frames shown."""
    if pts is None:
        return default
    rank = int(np.searchsorted(ticks, pts))
    return rank if rank < len(ticks) and ticks[rank] == pts else default
