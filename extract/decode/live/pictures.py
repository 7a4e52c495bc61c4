"""Single pictures of a stream: those that no window looks at are not even decoded.

A picture that cannot be decoded keeps its place and shows the one before. A regular window takes
every `frame_step`-th frame, so which ticks are looked at is known ahead. The last window may be
moved back to others: the latest pictures are kept as they came until the end.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.decode.live.clock import LiveClock, RateLimit
from extract.decode.live.protocol import LiveFacts, LiveSink
from extract.decode.live.sources import Feed, Picture, PictureReader
from extract.decode.pyav.frames import Planes, pictures_of
from extract.decode.pyav.geometry import FrameGeometry
from extract.errors import VideoRejected
from extract.windows import last_frames, regular_frames

KEPT_BYTES = 8 << 20
"""Bytes of pictures that are kept undecoded; a picture that would make it more is decoded."""


class _Kept(NamedTuple):
    """A picture that was not decoded, and its ticks."""

    first: int
    ticks: int
    picture: Picture


class LivePictures:
    """The decoding of single pictures into a sink, as far as windows look at them.

    A stream begins with the first picture that can be decoded.

    Args:
        contract: how pictures are to be delivered, and which windows are cut.
        limits: on pixels and frames a second.
        sink: takes the pictures.
        clock: puts them on the contract's clock.
        feed: that they come from.
        takes_all: the sink takes every picture.
    """

    def __init__(
        self,
        contract: FeatureContract,
        limits: Limits,
        sink: LiveSink,
        clock: LiveClock,
        feed: Feed,
        *,
        takes_all: bool,
    ) -> None:
        self._contract, self._sink, self._clock, self._feed = contract, sink, clock, feed
        self._reader = PictureReader(feed, limits)
        self._rate = RateLimit(limits.max_fps)
        self._geometry = FrameGeometry(0, 0, 1.0, contract, limits)
        self._converter, self._planes = pictures_of(contract), Planes()
        every = frozenset(range(contract.stride_frames))
        self._regular = every if takes_all else regular_frames(contract)
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._latest: tuple[Picture | None, np.ndarray | None] = None, None

    def run(self) -> LiveFacts:
        """Decodes until the pictures end.

        Raises:
            VideoRejected: it is no acceptable stream.
        """
        count = 0
        for picture, ticks in self._clock.spread(self._pictures(), lambda one: one.time_s):
            if not count:
                self._sink.begin(max(0.0, self._clock.start_s), self._clock.ticks_per_s)
            self._take(picture, count, ticks)
            count += ticks
        if not count:
            raise VideoRejected("damaged", "the stream has no frame")
        self._amend(count)
        refused, size = self._reader.refused, (self._geometry.width, self._geometry.height)
        shown = max(1, self._clock.count - refused)
        return LiveFacts(shown, self._clock.late, refused, *size, self._reader.codec)

    def _pictures(self) -> Iterator[Picture]:
        """Yields the pictures from the first on that can be decoded."""
        has_begun = False
        for picture in self._reader.pictures():
            self._rate.take(picture.time_s)
            has_begun = has_begun or self._decoded(picture) is not None
            if has_begun:
                yield picture

    def _take(self, picture: Picture, first: int, ticks: int) -> None:
        """Delivers a picture of some ticks, or keeps it."""
        stride, after = self._contract.stride_frames, first + ticks
        self._forget(after - self._contract.window_frames)
        is_wanted = ticks >= stride or any(t % stride in self._regular for t in range(first, after))
        if is_wanted or self._kept_bytes + len(picture.data) > KEPT_BYTES:
            pixels = self._decoded(picture)
            before = self._kept[-1] if self._kept else None
            if pixels is None and before is not None and before.first + before.ticks == first:
                pixels = self._decoded(before.picture)
            if pixels is not None:
                self._sink.append(pixels, ticks, self._feed.taken)
                return
        else:
            self._kept.append(_Kept(first, ticks, picture))
            self._kept_bytes += len(picture.data)
        is_awaited = self._ends(after) > self._ends(first)
        self._sink.repeat(ticks, self._feed.taken, is_awaited=is_awaited)

    def _ends(self, count: int) -> int:
        """Counts the regular windows within so many ticks."""
        beyond = count - self._contract.window_frames
        return max(0, 1 + beyond // self._contract.stride_frames)

    def _forget(self, first: int) -> None:
        """Lets pictures go that were shown before a tick."""
        while self._kept and self._kept[0].first + self._kept[0].ticks <= first:
            self._kept_bytes -= len(self._kept.popleft().picture.data)

    def _amend(self, count: int) -> None:
        """Delivers what the last window wants of the pictures that were kept."""
        wanted = last_frames(count, self._contract)
        for first, ticks, picture in self._kept:
            for tick in wanted:
                if first <= tick < first + ticks and (pixels := self._decoded(picture)) is not None:
                    self._sink.amend(pixels, count - tick)

    def _decoded(self, picture: Picture) -> np.ndarray | None:
        """Returns a picture's pixels as the contract wants them; None where it is damaged."""
        if self._latest[0] is not picture:
            frame = self._reader.decoded(picture)
            pixels = None
            if frame is not None:
                self._geometry.measure(frame)
                pixels = self._converter.picture(self._planes.of(frame), self._geometry.shown)
            self._latest = picture, pixels
        return self._latest[1]
