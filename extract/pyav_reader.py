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
from extract.spare import Spare, rank_of, ticks_of


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
            ticks = ticks_of(self._report, stream)
            last = -1
            for frame in self._decoded(source, stream, Spare(stream, ticks, repeats)):
                index = rank_of(ticks, frame.pts, default=last + 1)
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

    def _decoded(
        self, source: InputContainer, stream: VideoStream, spare: Spare | None = None
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
