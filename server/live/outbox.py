"""Outbox: the messages of a live stream, numbered, kept for a client whose connection drops.

What was written to a connection may not have arrived, so the latest messages are kept whether they
were written or not; those not written yet are never dropped.
"""

import asyncio
import json
from collections import deque
from typing import Any, NamedTuple

MAX_MESSAGES = 1000
MAX_BYTES = 4 * 2**20
"""Most messages kept, in number and size."""


class OutboxFull(Exception):
    """More is unwritten than is kept."""


class Message(NamedTuple):
    """One message: its number, from 1, and its JSON."""

    seq: int
    text: str


class Outbox:
    """The messages of one stream.

    Attributes:
        last: number of the latest message.
        is_closed: no further message follows.
    """

    def __init__(self, *, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._kept: deque[Message] = deque()
        self._bytes = 0
        self._written = 0
        self._changed = asyncio.Event()
        self.last = 0
        self.is_closed = False

    def put(self, kind: str, **fields: Any) -> None:
        """Adds a message.

        Raises:
            OutboxFull: too many are unwritten; the message is kept all the same.
        """
        self.put_last(kind, **fields)
        while len(self._kept) > self._max_messages or self._bytes > self._max_bytes:
            if self._kept[0].seq > self._written:
                raise OutboxFull
            self._bytes -= len(self._kept.popleft().text)

    def put_last(self, kind: str, **fields: Any) -> None:
        """Adds a message of any size; none once the outbox is closed."""
        if self.is_closed:
            return
        text = json.dumps({"seq": self.last + 1, "type": kind, **fields}, ensure_ascii=False)
        self.last += 1
        self._kept.append(Message(self.last, text))
        self._bytes += len(text)
        self._changed.set()

    def close(self) -> None:
        """Ends the messages."""
        self.is_closed = True
        self._changed.set()

    def holds_after(self, seq: int) -> bool:
        """Whether every message after a number, which is one of the stream's, is kept."""
        first = self._kept[0].seq if self._kept else self.last + 1
        return first - 1 <= seq <= self.last

    async def next(self, seq: int) -> Message | None:
        """Returns the message after a number; waits for it; None after the last one."""
        while seq >= self.last:
            if self.is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._kept[seq + 1 - self._kept[0].seq]

    def write_after(self, seq: int) -> None:
        """Begins again after a number, on another connection."""
        self._written = seq

    def note_written(self, seq: int) -> None:
        """Notes that a connection has taken the messages up to a number."""
        self._written = max(self._written, seq)
