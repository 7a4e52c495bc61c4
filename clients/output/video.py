"""Video with the answers in a panel below the picture; frame times and sound are kept."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageFont

from clients.results.predictions import PredictionResult, Segment

BACK, TEXT, SOFT = (24, 28, 32), (235, 238, 240), (150, 158, 166)
ACTION, CHANGE, INSTANT, HEAD = (23, 92, 108), (176, 111, 28), (167, 139, 250), (255, 180, 171)
MIN_WIDTH = 480
MAX_ASPECT = 4.0
"""Largest pixel aspect ratio, either way; beyond it is ignored as a mistake."""


class Panel:
    """Draws the answers at an instant, (height, width, 3) uint8.

    Attributes:
        height: rows of the panel, an even number.
    """

    def __init__(self, result: PredictionResult, width: int) -> None:
        self._result = result
        self._width = width
        self._line = max(14, round(width / 36))
        self._top, self._bottom = round(self._line * 2.3), round(self._line * 3.1)
        self._font = ImageFont.load_default(self._line * 0.72)
        self.height = (self._line * 4 + self._line // 2) // 2 * 2
        self._drawn: dict[int, Image.Image] = {}

    def at(self, time_s: float) -> np.ndarray:
        """Returns the panel at a time."""
        index = self._segment_at(time_s)
        if index not in self._drawn:
            self._drawn = {index: self._draw(self._result.segments[index])}
        panel = self._drawn[index].copy()
        x = self._x(time_s)
        ImageDraw.Draw(panel).line([(x, self._top), (x, self._bottom)], fill=HEAD, width=2)
        return np.asarray(panel)

    def _segment_at(self, time_s: float) -> int:
        """Index of the last segment that has begun (segments may overlap), else of the first."""
        begun = [k for k, one in enumerate(self._result.segments) if one.start_s <= time_s + 1e-6]
        return max(begun, default=0)

    def _x(self, time_s: float) -> int:
        share = (time_s - self._result.start_s) / self._result.duration_s
        return round(min(max(share, 0.0), 1.0) * (self._width - 1))

    def _draw(self, current: Segment) -> Image.Image:
        panel = Image.new("RGB", (self._width, self.height), BACK)
        draw = ImageDraw.Draw(panel)
        for segment in self._result.segments:
            self._draw_segment(draw, segment)
        pad = self._line // 2
        draw.text((pad, self._line * 0.15), _what(current), fill=TEXT, font=self._font)
        draw.text((pad, self._line * 1.2), _change(current), fill=SOFT, font=self._font)
        draw.text((pad, self._bottom + self._line * 0.2), self._next(), fill=SOFT, font=self._font)
        return panel

    def _draw_segment(self, draw: ImageDraw.ImageDraw, segment: Segment) -> None:
        left, right = self._x(segment.start_s), self._x(segment.end_s)
        middle = (self._top + self._bottom) // 2
        draw.rectangle([left, self._top, right, middle], fill=ACTION, outline=BACK)
        if segment.oscc is not None:
            share = segment.oscc.probability
            colour = tuple(round(b + share * (c - b)) for b, c in zip(BACK, CHANGE, strict=True))
            draw.rectangle([left, middle, right, self._bottom], fill=colour, outline=BACK)
        is_change = segment.oscc is None or segment.oscc.state_change
        if segment.pnr is not None and is_change:
            x = self._x(segment.pnr.time_s)
            draw.line([(x, self._top), (x, self._bottom)], fill=INSTANT, width=3)

    def _next(self) -> str:
        if self._result.lta is None:
            return ""
        steps = self._result.lta.hypotheses[0][:4]
        shown = " > ".join(f"{step.verb} {step.noun}" for step in steps)
        return f"after the clip: {shown}"


def _what(segment: Segment) -> str:
    if segment.ar is None:
        return ""
    verb, noun = segment.ar.verb[0], segment.ar.noun[0]
    return f"{verb.label} {noun.label}   ({verb.probability:.0%}, {noun.probability:.0%})"


def _change(segment: Segment) -> str:
    if segment.oscc is None:
        return "" if segment.pnr is None else f"point of no return at {segment.pnr.time_s:.2f} s"
    if not segment.oscc.state_change:
        return f"no object changes state   ({1 - segment.oscc.probability:.0%})"
    when = "" if segment.pnr is None else f" at {segment.pnr.time_s:.2f} s"
    return f"an object changes state{when}   ({segment.oscc.probability:.0%})"


def render(
    clip: Path,
    result: PredictionResult,
    out: Path,
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Writes the clip with its answers below the picture, as H.264.

    `out`, mp4 or mkv, appears whole or not at all; `progress` gets the share that is done.

    Raises:
        OSError: the clip cannot be read as video, or `out` cannot be written.
        ValueError: the answers have no segment.
    """
    if not result.segments:
        raise ValueError("the answer has no segment to draw")
    fresh = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        _write(clip, result, fresh, progress)
        os.replace(fresh, out)
    except av.error.FFmpegError as error:
        raise OSError(f"{clip.name} cannot be drawn on: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)


def _write(
    clip: Path, result: PredictionResult, out: Path, progress: Callable[[float], None]
) -> None:
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        if not source.streams.video:
            raise OSError(f"{clip.name} has no video track")
        track = 0 if result.input is None else result.input.video_track
        pictures = source.streams.video[min(track, len(source.streams.video) - 1)]
        sounds: list[Stream] = list(source.streams.audio[:1])
        output = _Output(
            result,
            target.add_stream("libx264", rate=pictures.average_rate or 30),
            pictures.sample_aspect_ratio,
        )
        if pictures.time_base is not None:
            output.stream.codec_context.time_base = pictures.time_base
        copies = {sound.index: target.add_stream_from_template(sound) for sound in sounds}
        held: list[Packet[Any]] = []
        for packet in source.demux([pictures, *sounds]):
            if packet.stream is pictures:
                for frame in packet.decode():
                    assert isinstance(frame, VideoFrame)
                    target.mux(output.add(frame))
                progress(min(1.0, (output.seconds - result.start_s) / result.duration_s))
            elif packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                held.append(packet)
            if output.panel is not None:  # the header, which comes first, needs the picture's size
                target.mux(held)
                held = []
        if output.panel is None:
            raise OSError(f"{clip.name} has no picture that can be decoded")
        target.mux(output.stream.encode(None))


class _Output:
    """The output video stream."""

    def __init__(
        self, result: PredictionResult, stream: VideoStream, aspect: Fraction | None
    ) -> None:
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        self.stream = stream
        self.panel: Panel | None = None
        self.seconds = 0.0
        self._result = result
        self._start_s = 0.0
        self._matrix: bytes | None = None
        self._aspect = float(aspect or 1)

    def add(self, frame: VideoFrame) -> "list[Packet[VideoStream]]":
        # Not `frame.side_data`: it and the frame would keep each other alive.
        data = cast(Any, SideDataContainer)(frame).get("DISPLAYMATRIX")
        if data is not None:  # a stream may have it once, for all frames that follow
            self._matrix = bytes(data)
        picture = _upright(frame, self._matrix, self._aspect)
        time_s = frame.time or 0.0
        if self.panel is None:
            self.panel = Panel(self._result, picture.shape[1])
            self.stream.width = picture.shape[1]
            self.stream.height = len(picture) + self.panel.height
            self._start_s = time_s
        self.seconds = time_s - self._start_s + self._result.start_s
        drawn = np.concatenate([picture, self.panel.at(self.seconds)])
        stamped = VideoFrame.from_ndarray(drawn, format="rgb24")
        stamped.pts, stamped.time_base = frame.pts, frame.time_base
        return self.stream.encode(stamped)


def _upright(frame: VideoFrame, matrix: bytes | None, aspect: float) -> np.ndarray:
    """The frame as displayed, of even size, scaled up if it is too small for text.

    Args:
        frame: as stored.
        matrix: the display matrix, nine int32: (p, q) -> (a p + c q, b p + d q).
        aspect: width of a stored pixel divided by its height.
    """
    picture = frame.to_ndarray(format="rgb24")
    height, width = picture.shape[:2]
    if 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        width = round(width * aspect)
    if matrix is not None:
        a, b, _, c, d, *_ = struct.unpack("<9i", matrix)
        if max(abs(b), abs(c)) > max(abs(a), abs(d)):
            picture, width, height = picture.swapaxes(0, 1), height, width
            a, d = c, b
        picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    scale = max(1.0, MIN_WIDTH / width)
    size = (round(width * scale) // 2 * 2, round(height * scale) // 2 * 2)
    if size == picture.shape[1::-1]:
        return np.ascontiguousarray(picture)
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size))
