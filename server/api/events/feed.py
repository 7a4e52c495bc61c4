"""Event feed: one poll of the store for all readers of job events, and the places of readers.

A job's events are in the store, so that a client can resume their stream on another server. A
reader asks the store itself only for what is older than the newest events, which all readers share.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Receive, Scope, Send

from server.api.events.sse import HEARTBEAT_S, MEDIA_TYPE
from server.errors import JobsUnavailable, QueueFull
from server.jobs.news import News
from server.jobs.records import Event, Job
from server.jobs.store import JobStore
from server.scheduling.shares import Shares

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""Interval of looking for new events, of all jobs that are read."""

RETRY_AFTER_S = 10
"""`Retry-After` if there is no place for another reader."""

TAIL = 64
"""Newest events of a job that its readers share."""

CATCHING_UP = 4
"""Readers that ask the store for older events at the same time."""


@dataclass(frozen=True)
class _Line:
    """An event in wire format."""

    seq: int
    data: bytes
    is_last: bool


class _Topic:
    """What the readers of one job share.

    Attributes:
        readers: how many there are.
        seen: number of the newest event that a poll has found; None before the first poll.
        is_over: there will be no further events.
        changed: set at the next news; replaced by then.
    """

    def __init__(self) -> None:
        self.readers = 0
        self.seen: int | None = None
        self.is_over = False
        self.changed = asyncio.Event()
        self._tail: deque[_Line] = deque(maxlen=TAIL)

    def update(self, news: News) -> None:
        """Takes what a poll has found, and wakes the readers if there is anything new."""
        is_first = self.seen is None
        self._tail.extend(_lines(news.events))
        self.seen = news.events[-1].seq if news.events else max(news.last_seq, self.seen or 0)
        was_over, self.is_over = self.is_over, not news.is_live and self.seen >= news.last_seq
        if is_first or news.events or self.is_over != was_over:
            self.wake()

    def wake(self) -> None:
        """Makes every reader look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def after(self, seq: int) -> list[_Line] | None:
        """Returns the events after a number; None if the store has to be asked for them."""
        if self.seen is None:
            return None
        begin = self._tail[0].seq - 1 if self._tail else self.seen
        return None if seq < begin else [line for line in self._tail if line.seq > seq]


class EventFeed:
    """Streams of job events, polled for together; their number is bounded, also for each caller."""

    def __init__(
        self,
        store: JobStore,
        read_news: Callable[[Mapping[str, int | None]], Mapping[str, News]],
        *,
        places: Shares,
        is_open: Callable[[], bool],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """Polls nothing before there is a reader.

        Args:
            store: holds the events.
            read_news: returns what is new about each of many jobs.
            places: of readers.
            is_open: whether to wait for further events.
            heartbeat_s: longest time without output.
        """
        self._store, self._read_news = store, read_news
        self._is_open, self._heartbeat_s = is_open, heartbeat_s
        self.places = places
        self._topics: dict[str, _Topic] = {}
        self._polling: asyncio.Task[None] | None = None
        self._catching_up = asyncio.Semaphore(CATCHING_UP)

    def check_room(self, caller: str) -> None:
        """Raises unless a caller may read another stream.

        Raises:
            QueueFull: every place, or every one of the caller's share, is taken.
        """
        if not self.places.has_room(caller):
            raise QueueFull(RETRY_AFTER_S)

    async def follow(self, job: Job, *, after: int) -> AsyncGenerator[bytes, None]:
        """Yields events in wire format until the job has ended or the server drains.

        Args:
            job: whose events they are.
            after: number of the last event that the client has received; 0: none.
        """
        async with self._reading(job.id) as topic:
            while True:
                changed = topic.changed  # before looking: no news is missed
                lines = topic.after(after)
                if lines is None:
                    lines = await self._older(job.id, after)
                for line in lines:
                    yield line.data
                    after = line.seq
                    if line.is_last:
                        return
                if lines:
                    continue
                if topic.is_over or not job.is_live or not self._is_open():
                    return
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await changed.wait()
                except TimeoutError:
                    yield KEEPALIVE_COMMENT

    @asynccontextmanager
    async def _reading(self, job_id: str) -> AsyncIterator[_Topic]:
        topic = self._topics.setdefault(job_id, _Topic())
        topic.readers += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield topic
        finally:
            topic.readers -= 1
            if not topic.readers:
                del self._topics[job_id]

    async def _older(self, job_id: str, after: int) -> list[_Line]:
        async with self._catching_up:
            return _lines(await self._store.call(self._store.events, job_id, after=after))

    async def _poll(self) -> None:
        """Asks for news of all jobs at once, as long as anybody reads."""
        while self._topics:
            await asyncio.sleep(POLL_S)
            seen = {job_id: topic.seen for job_id, topic in self._topics.items()}
            try:
                news = await self._store.call(self._read_news, seen)
            except JobsUnavailable as error:  # readers wait for it to come back
                logger.warning("job events: %s", error)
                news = {}
            except Exception:  # must not end the streams of everybody
                logger.exception("job events: a poll failed")
                news = {}
            for job_id, topic in list(self._topics.items()):
                if job_id in news:
                    topic.update(news[job_id])
                if not self._is_open():
                    topic.wake()


class FeedResponse(StreamingResponse):
    """The response to one reader, which holds its place however it ends."""

    def __init__(self, feed: EventFeed, caller: str, job: Job, *, after: int) -> None:
        self._feed, self._caller = feed, caller
        self._lines = feed.follow(job, after=after)
        super().__init__(self._lines, media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams; raises QueueFull before the response begins, if there is no place."""
        self._feed.check_room(self._caller)
        with self._feed.places.hold(self._caller):
            async with aclosing(self._lines):
                await super().__call__(scope, receive, send)


def _lines(events: Iterable[Event]) -> list[_Line]:
    return [
        _Line(
            event.seq,
            format_sse_event(event=event.name, data_str=json.dumps(event.data), id=str(event.seq)),
            event.is_last,
        )
        for event in events
    ]
