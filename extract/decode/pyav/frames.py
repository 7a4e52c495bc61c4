"""A decoded PyAV frame to the picture that a contract asks for: turned, resized and cropped."""

from typing import NamedTuple, Protocol

import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

from extract.contract import FeatureContract, crop_offset, resized_size
from extract.decode.orientation import Orientation
from extract.decode.resize import resize, taps_of

_POINTWISE = ("yuv420p", "yuvj420p")
"""Formats whose conversion to RGB takes each pixel for itself, where both sides are even."""

_FOUR = "rgb0"
"""What floats are made of: the numbers of rgb24, and a byte that makes pixels fast to pick."""


class Shown(NamedTuple):
    """How a frame is shown.

    Attributes:
        width: with square pixels, after turning; of a stereo recording the left half.
        height: as `width`.
        columns: pixels that it really has there.
        rows: as `columns`.
        orientation: how it is turned before.
    """

    width: int
    height: int
    columns: int
    rows: int
    orientation: Orientation


class FrameConverter(Protocol):
    """Makes pictures of frames; they may be views of buffers that are used again."""

    def picture(self, frame: VideoFrame, shown: Shown) -> np.ndarray:
        """Returns what `FeatureContract.frame_shape` and `frame_dtype` say."""


def pictures_of(contract: FeatureContract) -> FrameConverter:
    """Returns what makes the pictures of a contract."""
    return FloatPictures(contract) if contract.resize == "float" else BytePictures(contract)


class BytePictures:
    """Resizes bytes in FFmpeg's own code, to decord's pixels."""

    def __init__(self, contract: FeatureContract) -> None:
        self._contract = contract
        self._graph: tuple[object, Graph] | None = None

    def picture(self, frame: VideoFrame, shown: Shown) -> np.ndarray:
        """See `FrameConverter`."""
        graph = self._scaler(frame, shown)
        graph.push(frame)
        resized = _pixels(graph.vpull(), 3)
        x, y = crop_offset(resized.shape[1], resized.shape[0], self._contract)
        return resized[y : y + self._contract.crop_height, x : x + self._contract.crop_width]

    def _scaler(self, frame: VideoFrame, shown: Shown) -> Graph:
        key = (frame.width, frame.height, frame.format.name, shown)
        if self._graph is None or self._graph[0] != key:
            width, height = resized_size(shown.width, shown.height, self._contract)
            # The flags are named because they decide the pixels: these are decord's.
            options = {"w": str(width), "h": str(height), "flags": "bicubic"}
            if self._contract.color == "bt601":
                options["in_color_matrix"] = "bt601"
            graph = Graph()
            nodes = [_source(graph, frame)]
            nodes += [graph.add(name, **how) for name, how in shown.orientation.filters]
            if self._contract.view == "left":
                nodes.append(graph.add("crop", w=str(shown.columns), x="0", exact="1"))
            nodes.append(graph.add("scale", **options))
            nodes.append(graph.add("format", pix_fmts="rgb24"))
            nodes.append(graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()
            self._graph = key, graph
        return self._graph[1]


class FloatPictures:
    """Resizes floats, from the part of a frame that the centre crop is made of.

    That part alone is converted to RGB where the conversion then gives the same bits; else all is.
    """

    def __init__(self, contract: FeatureContract) -> None:
        self._contract = contract
        self._whole = VideoReformatter()
        self._key: object = None

    def picture(self, frame: VideoFrame, shown: Shown) -> np.ndarray:
        """See `FrameConverter`."""
        key = (frame.width, frame.height, frame.format.name, shown)
        if self._key != key:
            self._prepare(frame, shown)
            self._key = key
        if self._part is None:
            matrix = Colorspace.ITU601 if self._contract.color == "bt601" else None
            rgb = self._whole.reformat(frame, format=_FOUR, src_colorspace=matrix, threads=1)
        else:
            self._part.push(frame)
            rgb = self._part.vpull()
        pixels = shown.orientation.applied(_pixels(rgb, 4))
        return resize(pixels, self._rows, self._columns)

    def _prepare(self, frame: VideoFrame, shown: Shown) -> None:
        pixels = (shown.columns, shown.rows)
        rows, columns = taps_of(shown.width, shown.height, self._contract, pixels)
        self._part: Graph | None = None
        is_even = frame.width % 2 == 0 and frame.height % 2 == 0
        if is_even and frame.format.name in _POINTWISE:
            # Two rows, and two columns, share their chroma.
            top, bottom = _even(rows.places.min(), rows.places.max())
            left, right = _even(columns.places.min(), columns.places.max())
            rows, columns = rows.after(top), columns.after(left)
            size = shown.orientation.size(frame.width, frame.height)
            part = shown.orientation.stored((left, top, right, bottom), *size)
            self._part = self._converter(frame, *part)
        self._rows, self._columns = rows, columns

    def _converter(self, frame: VideoFrame, left: int, top: int, right: int, bottom: int) -> Graph:
        """Converts a part of a frame, as stored, to the bits that all of it is converted to."""
        place = {"x": str(left), "y": str(top), "w": str(right - left), "h": str(bottom - top)}
        options = {"flags": "bilinear"}
        if self._contract.color == "bt601":
            options["in_color_matrix"] = "bt601"
        graph = Graph()
        nodes = [
            _source(graph, frame),
            graph.add("crop", exact="1", **place),
            graph.add("scale", **options),
            graph.add("format", pix_fmts=_FOUR),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph


def _source(graph: Graph, frame: VideoFrame) -> FilterContext:
    graph.threads = 1
    return graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )


def _even(first: int, last: int) -> tuple[int, int]:
    """The smallest range from and to an even pixel that holds both."""
    return int(first) // 2 * 2, (int(last) // 2 + 1) * 2


def _pixels(frame: VideoFrame, channels: int) -> np.ndarray:
    """(H, W, channels) of a frame whose channels lie side by side, a view that keeps it alive."""
    plane = frame.planes[0]
    flat: np.ndarray = np.frombuffer(memoryview(plane), np.uint8)
    rows = flat.reshape(-1, plane.line_size)[: frame.height, : channels * frame.width]
    return rows.reshape(frame.height, frame.width, channels)
