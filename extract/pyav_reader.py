"""Files to frames with PyAV: reads every clip that decord may not, and all long ones."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.clip import Limits, Reader
from extract.contract import FeatureContract
from extract.errors import VideoRejected
from extract.gate import PacketReport, check_frame
from extract.geometry import crop_offset, resized_size
from extract.pyav_container import CODECS, opened, packets_of, video_stream

_TURNS = {90: ("cclock",), 180: ("clock", "clock"), 270: ("clock",)}

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
        self._graph: tuple[object, Graph] | None = None
        self.num_decoded = 0
        self.num_refused = 0
        self.num_corrupt = 0
        self.width = 0
        self.height = 0
        self.rotation = 0

    def frames(self, repeats: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (source frame, (H, W, 3) uint8 view) of every frame that is wanted.

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
                    yield index, self._picture(frame)

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
        self.rotation = rotation if rotation in _TURNS else 0
        width, height = frame.width, frame.height
        if self.rotation in (90, 270):
            width, height = height, width
        if self._contract.view == "left":
            width //= 2
        if (width, height) != (self.width, self.height):
            check_frame(width, height, self._contract, self._limits)
            if self.width and self._contract.resize == "float":
                raise VideoRejected("damaged", "the size of the picture changes on the way")
            self.width, self.height = width, height

    def _picture(self, frame: VideoFrame) -> np.ndarray:
        if self._contract.resize == "float":
            matrix = "ITU601" if self._contract.color == "bt601" else None
            full = _pixels_of(frame.reformat(format="rgb24", src_colorspace=matrix, threads=1))
            return np.rot90(full, self.rotation // 90)[:, : self.width]
        graph = self._scaler(frame)
        graph.push(frame)
        resized = _pixels_of(graph.vpull())
        x, y = crop_offset(resized.shape[1], resized.shape[0], self._contract)
        return resized[y : y + self._contract.crop_height, x : x + self._contract.crop_width]

    def _scaler(self, frame: VideoFrame) -> Graph:
        key = (frame.width, frame.height, frame.format.name, self.rotation)
        if self._graph is None or self._graph[0] != key:
            width, height = resized_size(self.width, self.height, self._contract)
            # The flags are named because they decide the pixels: these are decord's.
            options = {"w": str(width), "h": str(height), "flags": "bicubic"}
            if self._contract.color == "bt601":
                options["in_color_matrix"] = "bt601"
            graph = Graph()
            graph.threads = 1
            nodes = [
                graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=frame.time_base,
                )
            ]
            nodes += [graph.add("transpose", dir=turn) for turn in _TURNS.get(self.rotation, ())]
            if self._contract.view == "left":
                nodes.append(graph.add("crop", w=str(self.width), x="0", exact="1"))
            nodes.append(graph.add("scale", **options))
            # At odd widths swscale keeps full chroma, and then planes come to the same numbers
            # in 0.7 of the time (16:9 at a short side of 96 is 171 wide).
            nodes.append(graph.add("format", pix_fmts="gbrp" if width % 2 else "rgb24"))
            nodes.append(graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()
            self._graph = key, graph
        return self._graph[1]


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


def _pixels_of(frame: VideoFrame) -> np.ndarray:
    """(H, W, 3) of an rgb24 frame, a view that keeps its memory alive, or of a gbrp frame."""
    if frame.format.name == "gbrp":
        green, blue, red = (_plane(frame, index, frame.width) for index in range(3))
        return np.stack([red, green, blue], axis=-1)
    return _plane(frame, 0, frame.width * 3).reshape(frame.height, frame.width, 3)


def _plane(frame: VideoFrame, index: int, row_bytes: int) -> np.ndarray:
    plane = frame.planes[index]
    flat: np.ndarray = np.frombuffer(memoryview(plane), np.uint8)
    return flat.reshape(-1, plane.line_size)[: frame.height, :row_bytes]
