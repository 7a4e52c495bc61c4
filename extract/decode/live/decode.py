"""Decoding of a stream as it arrives, into a sink, in the caller's process.

Untrusted streams belong in `sandbox.live`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.decode.live.clock import LiveClock, RateLimit
from extract.decode.live.pictures import LivePictures
from extract.decode.live.protocol import LiveFacts, LiveKind, LiveSink
from extract.decode.live.sources import Feed, TrackFrames, opened
from extract.decode.pyav.frames import Planes, Shown, pictures_of
from extract.decode.pyav.geometry import FrameGeometry
from extract.errors import VideoRejected


def decode_live(
    descriptor: int,
    kind: LiveKind,
    contract: FeatureContract,
    limits: Limits,
    sink: LiveSink,
    *,
    rate: float | None = None,
    takes_all: bool = True,
) -> LiveFacts:
    """Decodes a stream until its pipe ends; one frame is in memory, beside the decoder's own.

    Of single pictures that are left out some MB are kept as they came, see `pictures`.

    Args:
        descriptor: of the pipe.
        kind: of what it carries.
        contract: how pictures are to be delivered.
        limits: on pixels and frames a second.
        sink: takes the pictures.
        rate: see `LiveClock`.
        takes_all: the sink takes every picture; else those alone that windows look at, counted from
            the first.

    Raises:
        VideoRejected: it is no acceptable stream; `code` says why.
    """
    feed = Feed(descriptor)
    clock = LiveClock(contract.fps, rate)
    if kind == "pictures":
        single = LivePictures(contract, limits, sink, clock, feed, takes_all=takes_all)
        return single.run()
    live = _Live(contract, limits, sink, clock, feed)
    with opened(feed, limits) as source:
        return live.run(TrackFrames(source, limits))


class _Seen(NamedTuple):
    """A decoded frame, and how it is shown."""

    frame: VideoFrame
    shown: Shown


class _Live:
    """The decoding of a container into a sink."""

    def __init__(
        self,
        contract: FeatureContract,
        limits: Limits,
        sink: LiveSink,
        clock: LiveClock,
        feed: Feed,
    ) -> None:
        self._contract, self._limits, self._sink, self._clock = contract, limits, sink, clock
        self._feed = feed

    def run(self, frames: TrackFrames) -> LiveFacts:
        geometry = FrameGeometry(*frames.size, self._contract, self._limits)
        pictures, planes, clock = pictures_of(self._contract), Planes(), self._clock
        picture, last = np.empty(0, np.uint8), None
        spread = clock.spread(
            self._measured(frames, geometry), lambda seen: seen.frame.time, lambda: frames.last_s
        )
        for seen, ticks in spread:
            if last is None:
                self._sink.begin(max(0.0, clock.start_s), clock.ticks_per_s)
            if seen is not last:
                picture, last = pictures.picture(planes.of(seen.frame), seen.shown), seen
            self._sink.append(picture, ticks, self._feed.taken)
        if last is None:
            raise VideoRejected("damaged", "the stream has no frame")
        size = geometry.width, geometry.height
        return LiveFacts(clock.count, clock.late, frames.refused, *size, frames.codec)

    def _measured(self, frames: TrackFrames, geometry: FrameGeometry) -> Iterator[_Seen]:
        rate = RateLimit(self._limits.max_fps)
        for frame in frames:
            if frame.time is not None:
                rate.take(frame.time)
            geometry.measure(frame)
            yield _Seen(frame, geometry.shown)
