"""Outgoing side of a live stream: frames as messages, kept until the server has taken them in."""

import asyncio
import struct
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

from clients.errors import ServerFault

MAX_UNACKED_BYTES = 32 << 20
"""Bytes that the server has not taken in yet, after which no more frames are asked for."""

PIECE_BYTES = 1 << 16
"""Largest piece of a container in one message."""

_TIME = struct.Struct("<d")

Picture = tuple[float, bytes]
"""Time in seconds, and a JPEG, PNG or WebP."""

Frames = Iterable[Picture] | Iterable[bytes] | AsyncIterable[Picture] | AsyncIterable[bytes]
"""Pictures, or pieces of one container (fragmented MP4, WebM, Matroska, MPEG-TS) of any size."""


class Outbox:
    """Messages that the server has not taken in yet, by number."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._first = 0
        self._bytes = 0
        self._changed = asyncio.Condition()
        self._has_ended = False

    async def put(self, message: bytes) -> None:
        """Adds a message; waits while too many bytes are unacknowledged."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._waiting or self._bytes + len(message) <= MAX_UNACKED_BYTES
            )
            self._waiting.append(message)
            self._bytes += len(message)
            self._changed.notify_all()

    async def end(self) -> None:
        """Marks the last message."""
        async with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    async def acknowledge(self, received: int) -> None:
        """Drops the messages before a number."""
        async with self._changed:
            while self._waiting and self._first < received:
                self._bytes -= len(self._waiting.popleft())
                self._first += 1
            self._changed.notify_all()

    async def messages(self, start: int) -> AsyncIterator[bytes]:
        """Yields messages from a number on, as they come, up to the last one.

        Raises:
            ServerFault: the server asks for one that it had acknowledged.
        """
        number = start
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: number < self._first + len(self._waiting) or self._has_ended  # noqa: B023
                )
                if number < self._first:
                    raise ServerFault("the server asks again for frames that it had taken in")
                if number >= self._first + len(self._waiting):
                    return
                message = self._waiting[number - self._first]
            yield message
            number += 1


async def collect(first: Any, items: AsyncIterator[Any], outbox: Outbox) -> None:
    """Puts a stream's items into an outbox, and marks the end, however it comes.

    Args:
        first: item of the stream.
        items: those after it.
        outbox: takes their messages.
    """
    try:
        for message in _framed(first):
            await outbox.put(message)
        async for item in items:
            for message in _framed(item):
                await outbox.put(message)
    finally:
        await outbox.end()


def _framed(item: Picture | bytes) -> Iterable[bytes]:
    if isinstance(item, bytes):
        return (item[at : at + PIECE_BYTES] for at in range(0, len(item), PIECE_BYTES))
    time_s, data = item
    return (_TIME.pack(time_s) + data,)


async def iterate(frames: Frames) -> AsyncIterator[Any]:
    """Yields the items of an iterable; an ordinary one is read by a thread, and may block."""
    if isinstance(frames, AsyncIterable):
        async for item in frames:
            yield item
        return
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()
    may_read, is_left = threading.Semaphore(), threading.Event()

    def read() -> None:
        outcome: BaseException = StopAsyncIteration()
        with suppress(RuntimeError):  # the event loop has ended
            try:
                for item in frames:
                    may_read.acquire()
                    if is_left.is_set():
                        return
                    loop.call_soon_threadsafe(items.put_nowait, (item, None))
            except Exception as error:
                outcome = error
            loop.call_soon_threadsafe(items.put_nowait, (None, outcome))

    # A daemon: a camera that gives no picture must not keep a program from ending.
    threading.Thread(target=read, name="live-source", daemon=True).start()
    try:
        while True:
            item, outcome = await items.get()
            may_read.release()
            if isinstance(outcome, StopAsyncIteration):
                return
            if outcome is not None:
                raise outcome
            yield item
    finally:
        is_left.set()
        may_read.release()
