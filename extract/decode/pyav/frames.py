"""Frame converters: a decoded PyAV frame to a contract's picture: rotated, resized, cropped."""

from typing import NamedTuple, Protocol

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

from extract.contract import FeatureContract, crop_offset, resized_size
from extract.decode.orientation import Orientation
from extract.decode.resize import Resizer, taps_of

_POINTWISE = ("yuv420p", "yuvj420p")
"""Formats whose conversion to RGB is pointwise, where both sides are even."""

_FOUR = "rgb0"
"""Pixel format before the float resize: rgb24 and a padding byte, which is faster to gather."""


_PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le"}
"""Formats in which a GPU hands frames over -> those of the CPU's decoders for the same video."""


class Shown(NamedTuple):
    """Geometry of a frame as shown.

    Attributes:
        width: with square pixels, after rotation; of a stereo recording the left half.
        height: as `width`.
        columns: stored pixels along the width, after rotation.
        rows: stored pixels along the height, after rotation.
        orientation: of the stored frame.
    """

    width: int
    height: int
    columns: int
    rows: int
    orientation: Orientation


class Planes:
    """Frames as a decoder on the CPU gives them: scalers round other formats otherwise."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> VideoFrame:
        """Returns a frame with a plane for each chroma; of other formats the frame itself."""
        planar = _PLANAR.get(frame.format.name)
        if planar is None:
            return frame
        return self._reformatter.reformat(frame, format=planar, threads=1)


class FrameConverter(Protocol):
    """Converts frames to pictures, which may be views of reused buffers."""

    def picture(self, frame: VideoFrame, shown: Shown) -> np.ndarray:
        """Returns a picture of `FeatureContract.read_shape` and `read_dtype`."""


def pictures_of(contract: FeatureContract) -> FrameConverter:
    """Returns the converter of a contract."""
    return FloatPictures(contract) if contract.resize == "float" else BytePictures(contract)


class BytePictures:
    """Resizes bytes with FFmpeg's scaler, to decord's pixels; whole frames only to square ones."""

    def __init__(self, contract: FeatureContract) -> None:
        self._contract = contract
        self._graph: tuple[object, Graph] | None = None

    def picture(self, frame: VideoFrame, shown: Shown) -> np.ndarray:
        """See `FrameConverter`."""
        graph = self._scaler(frame, shown)
        graph.push(frame)
        resized = _pixels(graph.vpull(), 3)
        if self._contract.is_whole:
            return resized
        x, y = crop_offset(resized.shape[1], resized.shape[0], self._contract)
        return resized[y : y + self._contract.crop_height, x : x + self._contract.crop_width]

    def _scaler(self, frame: VideoFrame, shown: Shown) -> Graph:
        key = (frame.width, frame.height, frame.format.name, shown)
        if self._graph is None or self._graph[0] != key:
            width, height = resized_size(shown.width, shown.height, self._contract)
            filters = list(shown.orientation.filters)
            if self._contract.view == "left":
                filters.append(("crop", {"w": str(shown.columns), "x": "0", "exact": "1"}))
            # decord's flags: they decide the pixels.
            scale = {"w": str(width), "h": str(height), "flags": "bicubic"}
            self._graph = key, _graph(frame, filters, scale, "rgb24", self._contract)
        return self._graph[1]


class FloatPictures:
    """Resizes floats, from the part of a frame that the centre crop needs.

    Only that part is converted to RGB where this gives the same bits, else the whole frame.
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
        return self._resized(pixels)

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
            x, y, end_x, end_y = shown.orientation.stored((left, top, right, bottom), *size)
            place = {"x": str(x), "y": str(y), "w": str(end_x - x), "h": str(end_y - y)}
            crop = ("crop", {"exact": "1", **place})
            self._part = _graph(frame, [crop], {"flags": "bilinear"}, _FOUR, self._contract)
        self._resized = Resizer(rows, columns)


def _graph(
    frame: VideoFrame,
    filters: list[tuple[str, dict[str, str]]],
    scale: dict[str, str],
    pixel_format: str,
    contract: FeatureContract,
) -> Graph:
    """Returns an FFmpeg filter graph: the filters, then scale and conversion to a pixel format."""
    if contract.color == "bt601":
        scale = {**scale, "in_color_matrix": "bt601"}
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    chain = [*filters, ("scale", scale), ("format", {"pix_fmts": pixel_format}), ("buffersink", {})]
    graph.link_nodes(source, *(graph.add(name, **options) for name, options in chain)).configure()
    return graph


def _even(first: int, last: int) -> tuple[int, int]:
    """Returns the smallest range between even pixels that holds both."""
    return int(first) // 2 * 2, (int(last) // 2 + 1) * 2


def _pixels(frame: VideoFrame, channels: int) -> np.ndarray:
    """Returns a view, (H, W, channels), of a packed frame, which it keeps alive."""
    plane = frame.planes[0]
    flat: np.ndarray = np.frombuffer(memoryview(plane), np.uint8)
    rows = flat.reshape(-1, plane.line_size)[: frame.height, : channels * frame.width]
    return rows.reshape(frame.height, frame.width, channels)
