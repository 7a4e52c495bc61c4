"""Decoding of a stream as it arrives, into a sink, in the caller's process.

Untrusted streams belong in `sandbox.live`.
"""

from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame

from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.decode.live.clock import LiveClock, RateLimit
from extract.decode.live.protocol import LiveFacts, LiveKind
from extract.decode.live.sources import Feed, LiveFrames, PictureFrames, TrackFrames, opened
from extract.decode.pyav.frames import Planes, pictures_of
from extract.decode.pyav.geometry import FrameGeometry
from extract.errors import VideoRejected


class LiveSink(Protocol):
    """Consumer of a stream's pictures."""

    def begin(self, start_s: float, ticks_per_s: float) -> None:
        """Called before the first picture: time of the first tick, and ticks in a second."""

    def append(self, picture: np.ndarray, ticks: int) -> None:
        """Takes the picture of the next ticks, (H, W, 3) of the contract's `read_shape`."""


def decode_live(
    descriptor: int,
    kind: LiveKind,
    contract: FeatureContract,
    limits: Limits,
    sink: LiveSink,
    *,
    rate: float | None = None,
) -> LiveFacts:
    """Decodes a stream until its pipe ends; one frame is in memory, beside the decoder's own.

    Args:
        descriptor: of the pipe.
        kind: of what it carries.
        contract: how pictures are to be delivered.
        limits: on pixels and frames a second.
        sink: takes the pictures.
        rate: see `LiveClock`.

    Raises:
        VideoRejected: it is no acceptable stream; `code` says why.
    """
    feed = Feed(descriptor)
    live = _Live(contract, limits, sink, LiveClock(contract.fps, rate))
    if kind == "pictures":
        return live.run(PictureFrames(feed, limits))
    with opened(feed, limits) as source:
        return live.run(TrackFrames(source, limits))


class _Live:
    """The decoding of one stream into a sink."""

    def __init__(
        self, contract: FeatureContract, limits: Limits, sink: LiveSink, clock: LiveClock
    ) -> None:
        self._contract, self._limits, self._sink, self._clock = contract, limits, sink, clock
        self._pictures, self._planes = pictures_of(contract), Planes()
        self._picture: np.ndarray | None = None
        self._frame: VideoFrame | None = None
        self._held: np.ndarray | None = None  # of a tick that may yet be none

    def run(self, frames: LiveFrames) -> LiveFacts:
        geometry = FrameGeometry(*frames.size, self._contract, self._limits)
        rate, late = RateLimit(self._limits.max_fps), 0
        for frame in frames:
            ticks = self._clock.push(frame.time)
            if ticks is None:
                late += 1
                continue
            if self._held is not None and not self._clock.is_ahead:
                self._release()
            if frame.time is not None:
                rate.take(frame.time)
            if self._frame is None:
                self._sink.begin(max(0.0, self._clock.start_s), self._clock.ticks_per_s)
            self._show(ticks.before, geometry)
            geometry.measure(frame)
            self._frame, self._picture = frame, None
            self._show(ticks.own, geometry)
        if self._frame is None:
            raise VideoRejected("damaged", "the stream has no frame")
        left = self._clock.finish(frames.last_s)
        if left < 0:
            self._held = None
        self._release()
        self._show(left, geometry)
        return LiveFacts(
            self._clock.count, late, frames.refused, geometry.width, geometry.height, frames.codec
        )

    def _show(self, ticks: int, geometry: FrameGeometry) -> None:
        """Sends the present frame, which is converted only if it is shown."""
        if ticks <= 0:
            return
        assert self._frame is not None
        if self._picture is None:
            frame = self._planes.of(self._frame)
            self._picture = self._pictures.picture(frame, geometry.shown)
        self._release()
        if self._clock.is_ahead:
            self._held = self._picture.copy()
            ticks -= 1
        if ticks:
            self._sink.append(self._picture, ticks)

    def _release(self) -> None:
        if self._held is not None:
            self._sink.append(self._held, 1)
            self._held = None
