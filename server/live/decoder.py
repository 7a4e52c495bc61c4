"""Live decoder: bytes of a stream -> windows, by a confined process that decodes it alone.

One thread feeds the process, another reads it; both block where it is slow. A process that dies on
single pictures is replaced, and the picture before is shown until the next one; a container
cannot be entered midway.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np

from extract.decode.live.clock import MAX_GAP_S
from extract.decode.live.grouping import Message, PictureGroup
from extract.decode.live.protocol import LiveKind
from extract.encoders.encoder import VideoEncoder, preparer
from extract.errors import DecoderDied, DecoderUnavailable, VideoRejected
from extract.sandbox.live import LivePicture, LiveStream
from extract.sandbox.process import DecodeProcess
from extract.sandbox.replies import malformed_reply
from extract.windows import FrameWindow, NumberedFrame, WindowCutter, number_frames

TIME_BYTES = 8
"""Before a picture in a client's message: its time in seconds, a little-endian double."""


class LiveWindow(NamedTuple):
    """A window of a stream.

    Attributes:
        number: from 0.
        frames: T of them, as the encoder takes them; overlapping windows share theirs.
        num_frames: of the stream up to its end.
        origin_s: time of the stream's first frame.
        ticks_per_s: frames on the contract's clock in a second of the stream.
        arrived_s: when the last message came that it needed, on the clock of `feed`.
    """

    number: int
    frames: FrameWindow
    num_frames: int
    origin_s: float
    ticks_per_s: float
    arrived_s: float


class LiveDecoder:
    """The windows of one stream.

    Attributes:
        restarts: processes that were replaced.

    Args:
        start: starts a process that has a feed.
        encoder: that the windows are for.
        kind: of what is fed: records of a picture each, or bytes of a container.
        rate: frames a second that stand for the times of the source; None: its own times.
        on_restart: called when a process was replaced, on the reading thread.

    Raises:
        DecoderUnavailable: no process can be started.
    """

    def __init__(
        self,
        start: Callable[[], DecodeProcess],
        encoder: VideoEncoder,
        kind: LiveKind,
        rate: float | None = None,
        *,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self.restarts = 0
        self._on_restart = on_restart
        self._start, self._kind, self._rate = start, kind, rate
        self._contract, self._prepare = encoder.contract, preparer(encoder)
        self._changed = threading.Condition()
        self._is_over = False
        self._has_input_ended = False
        self._fed = 0  # bytes of all messages
        self._messages = 0
        self._arrivals: deque[tuple[int, float]] = deque()  # end of a message, and when it came
        self._arrived_s = 0.0
        self._noted = 0  # bytes up to the last picture that came back
        self._group = PictureGroup(encoder.contract, rate)
        self._frame: NumberedFrame | None = None  # the latest that was delivered
        self._clock: tuple[float, float] | None = None  # first frame's time, ticks a second
        self._entered = (0, 0)  # bytes and messages before those of the present process
        self._entered_stream: LiveStream | None = None
        self._process, self._stream = self._begin(takes_all=False)
        self._reading = ThreadPoolExecutor(1, "live-read")
        self._feeding = ThreadPoolExecutor(1, "live-feed")
        self._windows = self._cut()

    async def feed(self, data: bytes, arrived_s: float) -> None:
        """Passes a message on; waits while the process cannot keep up.

        Of a process that has ended nothing is raised here: `next` raises why.

        Args:
            data: as the client sent it: a picture after its time, or a piece of the container.
            arrived_s: when it came.
        """
        if self._kind == "pictures":
            size = len(data) - TIME_BYTES
            data = data[:TIME_BYTES] + size.to_bytes(4, "little") + data[TIME_BYTES:]
            self._group.add(Message(data, arrived_s))
            if self._group.is_due:
                await self._off_the_loop(self._group.take())
        else:
            await self._off_the_loop([Message(data, arrived_s)])

    async def finish(self) -> None:
        """Ends the stream; its last windows follow."""
        loop, rest = asyncio.get_running_loop(), self._group.take()
        await loop.run_in_executor(self._feeding, self._finish, rest)

    async def next(self) -> LiveWindow | None:
        """Returns the next window; None after the last one.

        Raises:
            VideoRejected: it is no acceptable stream.
            DecoderDied: the process crashed on it, or was killed.
            DecoderUnavailable: no other process can be started.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, next, self._windows, None)

    def stop(self) -> None:
        """Kills the process, which ends both threads; idempotent."""
        with self._changed:
            if self._is_over:
                return
            self._is_over = True
            self._changed.notify_all()
            self._process.kill()
        # Freed when no thread uses it any more: first the one that reads, then the one that feeds.
        self._reading.submit(lambda: self._feeding.submit(self._process.end))
        self._reading.submit(self._feeding.shutdown, wait=False)
        self._reading.shutdown(wait=False)

    def _begin(self, *, takes_all: bool) -> tuple[DecodeProcess, LiveStream]:
        try:
            process = self._start()
        except OSError as error:
            raise DecoderUnavailable("a decoding process cannot be started") from error
        try:
            stream = LiveStream(
                process, self._contract, self._kind, rate=self._rate, takes_all=takes_all
            )
            return process, stream
        except BaseException:
            process.end()
            raise

    async def _off_the_loop(self, messages: list[Message]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._feeding, self._feed, messages)

    def _feed(self, messages: list[Message]) -> None:
        """Runs on the feeding thread."""
        while messages:
            stream = self._stream
            if stream is not self._entered_stream:
                self._entered, self._entered_stream = (self._fed, self._messages), stream
            ends = list(accumulate((len(one.data) for one in messages), initial=self._fed))[1:]
            self._arrivals += zip(ends, (one.arrived_s for one in messages), strict=True)
            try:
                stream.feed(b"".join(one.data for one in messages))
            except DecoderDied:
                if not self._has_another(stream):
                    return
                # The one under way is left out, too: it may be what the process died of.
                lost = min(len(messages), sum(end <= self._noted for end in ends) + 1)
                self._arrivals.clear()
            else:
                lost = len(messages)
            self._fed, self._messages = ends[lost - 1], self._messages + lost
            messages = messages[lost:]

    def _finish(self, rest: list[Message]) -> None:
        """Runs on the feeding thread."""
        self._feed(rest)
        self._has_input_ended = True
        self._stream.finish()

    def _has_another(self, stream: LiveStream) -> bool:
        """Waits for the reading thread to replace a process that died; returns whether it did."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._stream is not stream)
            return not self._is_over

    def _cut(self) -> Iterator[LiveWindow]:
        """Runs on the reading thread."""
        cutter: WindowCutter[NumberedFrame] = WindowCutter(self._contract)
        shown = (self._push(cutter, picture) for picture in self._pictures())
        last = (cutter.finish() for _ in range(1))  # made when the pictures are over
        for number, frames in enumerate(chain.from_iterable(chain(shown, last))):
            assert self._clock is not None
            yield LiveWindow(number, frames, cutter.num_frames, *self._clock, self._arrived_s)

    def _push(
        self, cutter: WindowCutter[NumberedFrame], picture: LivePicture
    ) -> Iterator[list[NumberedFrame]]:
        """Returns the windows that a picture completes.

        Raises:
            DecoderDied: it comes where none may.
        """
        if picture.pixels is not None:
            (self._frame,) = number_frames(picture.pixels[np.newaxis])
        with malformed_reply():
            if self._frame is None:
                raise ValueError("the first picture is missing")
            if picture.back:
                cutter.amend(picture.back, self._frame)
            return cutter.push([self._frame] * picture.ticks)

    def _pictures(self) -> Iterator[LivePicture]:
        """Yields the pictures of all processes, ready for windows, on the first one's clock."""
        shown: LivePicture | None = None
        ticks = 0
        while True:
            has_picture = False
            try:
                for picture in self._stream.pictures():
                    if self._clock is None:
                        self._clock = self._stream.start_s, self._stream.ticks_per_s
                    if not has_picture and shown is not None:
                        gap = self._gap(self._clock, ticks)
                        ticks += gap
                        yield shown._replace(ticks=gap)
                    has_picture = True
                    if picture.ticks:
                        self._note(picture)
                    if self._prepare is not None and picture.pixels is not None:
                        pixels = self._prepare(picture.pixels[np.newaxis])[0]
                        picture = picture._replace(pixels=pixels)
                    ticks += picture.ticks
                    shown = picture if picture.pixels is not None and picture.ticks else shown
                    yield picture
                return
            except DecoderDied:
                if not self._replace(is_worth=has_picture):
                    raise

    def _gap(self, clock: tuple[float, float], ticks: int) -> int:
        """Returns the ticks between the last of a process that died and the first of the next.

        Raises:
            VideoRejected: they are more than a stream may leave out.
        """
        start_s, ticks_per_s = clock
        again_s = self._stream.start_s - start_s
        if self._rate is not None:
            again_s = self._entered[1] / self._rate
        gap = max(0, round(again_s * ticks_per_s) - ticks)
        if gap > MAX_GAP_S * ticks_per_s:
            raise VideoRejected("damaged", f"more than {MAX_GAP_S:g} s lie between two frames")
        return gap

    def _note(self, picture: LivePicture) -> None:
        """Finds when the last message came of what was read for a picture."""
        taken = self._noted = self._entered[0] + picture.taken
        while self._arrivals:
            end, arrived_s = self._arrivals[0]
            self._arrived_s = arrived_s
            if end >= taken:
                return
            self._arrivals.popleft()

    def _replace(self, *, is_worth: bool) -> bool:
        """Starts another process after one died; returns whether the stream can go on.

        Args:
            is_worth: the one before gave a picture: two in a row without are the stream's fault.
        """
        can_enter = self._kind == "pictures" and not self._has_input_ended
        with self._changed:
            if self._is_over or not can_enter or not (is_worth or self.restarts == 0):
                return False
            before = self._process
            # It does not know which tick it begins with.
            self._process, self._stream = self._begin(takes_all=True)
            self.restarts += 1
            self._changed.notify_all()
        self._on_restart()
        with suppress(RuntimeError):  # stopped meanwhile
            self._feeding.submit(before.end)
        return True
