"""Files to packets and frames with PyAV: looks at every clip first, and reads most of them.

Only home of av. Containers, decoders, protocols and pixels are on allow-lists.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.clip import Limits
from extract.contract import FeatureContract
from extract.errors import VideoRejected
from extract.gate import PacketReport, check_frame
from extract.geometry import crop_offset, resized_size
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

_DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
_TURNS = {90: ("cclock",), 180: ("clock", "clock"), 270: ("clock",)}


def scan_packets(path: Path, container: Container, limits: Limits) -> PacketReport:
    """Reads all packets of the video track once, decoding none.

    Raises:
        VideoRejected: not readable as its container, no video track, or a codec not accepted.
    """
    with _opened(path, container, limits) as source:
        stream = _video_stream(source)
        codec = _codec_of(stream)
        times: list[float] = []
        num_packets = num_hidden = 0
        is_cut = False
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
        )


class PyavReader:
    """Decodes a clip once, forward.

    Attributes:
        num_decoded: frames decoded so far.
        num_refused: packets the decoder could make nothing of so far.
        num_corrupt: frames it gave but marked as corrupt so far.
        width: pixels of the last frame as used, after rotation; 0 before the first.
        height: as `width`.
        rotation: degrees counter-clockwise that stored pictures are turned by.
    """

    def __init__(
        self, path: Path, report: PacketReport, contract: FeatureContract, limits: Limits
    ) -> None:
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
        """Yields (source frame, (H, W, 3) uint8 view) of every frame that is shown at all.

        Args:
            repeats: (n,) on how many ticks each source frame is shown.

        Raises:
            VideoRejected: a frame is too large, or the file cannot be decoded at all.
        """
        with _opened(self._path, self._report.container, self._limits) as source:
            stream = _video_stream(source)
            ranks = self._ranks(stream)
            last = -1
            for frame in self._decoded(source, stream):
                index = last + 1 if frame.pts is None else ranks.get(frame.pts, last + 1)
                if not last < index < len(repeats):
                    self.num_refused += 1
                    continue
                last = index
                self._measure(frame)
                self.num_decoded += 1
                if repeats[index]:
                    yield index, self._picture(frame)

    def peek(self) -> None:
        """Decodes one frame, to know the true size and rotation.

        Raises:
            VideoRejected: it is too large, or there is none.
        """
        with _opened(self._path, self._report.container, self._limits) as source:
            for frame in self._decoded(source, _video_stream(source), one=True):
                self._measure(frame)
                return
        raise VideoRejected("damaged", "no frame could be decoded")

    def _ranks(self, stream: VideoStream) -> dict[int, int]:
        """Presentation time in ticks -> position among the frames shown; empty: count them.

        AVI stores no presentation times: what its packets carry is the order of decoding.
        """
        times_s, time_base = self._report.times_s, stream.time_base
        if self._report.container == "avi" or time_base is None:
            return {}
        if np.isnan(times_s).any() or not (np.diff(times_s) > 0).all():
            return {}
        ticks = np.rint(times_s / float(time_base)).astype(np.int64)
        return {int(tick): rank for rank, tick in enumerate(ticks)}

    def _decoded(
        self, source: InputContainer, stream: VideoStream, *, one: bool = False
    ) -> Iterator[VideoFrame]:
        """Yields frames packet by packet, so that an error costs one packet and not the rest."""
        decoder = stream.codec_context
        # Options given at open act on the header probe only.
        decoder.options = {
            "codec_whitelist": ",".join(CODECS),
            "max_pixels": str(self._limits.max_pixels),
        }
        decoder.thread_count = 1
        for packet in _packets(source, stream):
            try:
                yield from decoder.decode(packet)
                if one:
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
            nodes.append(graph.add("format", pix_fmts="rgb24"))
            nodes.append(graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()
            self._graph = key, graph
        return self._graph[1]


@contextmanager
def _opened(path: Path, container: Container, limits: Limits) -> Iterator[InputContainer]:
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _DEMUXERS[container],
        "codec_whitelist": ",".join(CODECS),
        "max_pixels": str(limits.max_pixels),
        "max_streams": "32",
        "skip_frame": "all",  # the header probe need not decode anything
    }
    try:
        source = av.open(str(path), "r", format=_DEMUXERS[container], options=options)
    except av.error.MemoryError as error:
        raise MemoryError from error
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoRejected("damaged", "the file cannot be opened as its container") from error
    with source:
        yield source


def _packets(
    source: InputContainer, stream: VideoStream
) -> "Iterator[av.Packet[VideoStream] | None]":
    try:
        yield from source.demux(stream)
    except av.error.FFmpegError:
        yield None  # the file is cut here: give what the decoder still holds


def _video_stream(source: InputContainer) -> VideoStream:
    """The first video track that is no cover picture."""
    for stream in source.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise VideoRejected("no-video-track", "the file has no video track")


def _codec_of(stream: VideoStream) -> str:
    decoder = stream.codec_context
    codec = CODECS.get(decoder.name) if decoder is not None else None
    if codec is None:
        raise VideoRejected(
            "unsupported-codec", f"accepted codecs are {', '.join(sorted(set(CODECS.values())))}"
        )
    return codec


def _pixels_of(frame: VideoFrame) -> np.ndarray:
    """(H, W, 3) view of an rgb24 frame; it keeps the frame's memory alive."""
    plane = frame.planes[0]
    flat: np.ndarray = np.frombuffer(memoryview(plane), np.uint8)
    rows = flat.reshape(-1, plane.line_size)[: frame.height, : frame.width * 3]
    return rows.reshape(frame.height, frame.width, 3)
