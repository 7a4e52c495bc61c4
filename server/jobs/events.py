"""A job's events as a stream, from any point on: what happened is replayed, then told as it comes.

The store holds every event, so a stream can be taken up again at another server.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from server.api.sse import HEARTBEAT_S
from server.jobs.records import Event
from server.jobs.store import JobStore

POLL_S = 0.5


async def stream_events(
    store: JobStore,
    job_id: str,
    *,
    after: int,
    is_open: Callable[[], bool],
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[bytes]:
    """Yields events on the wire until the job has ended, or the server is about to.

    Args:
        store: holds the events.
        job_id: whose.
        after: number of the last event that the caller has seen.
        is_open: whether there is time to wait for more.
        heartbeat_s: longest silence.
    """
    heard_s = time.monotonic()
    while True:
        # Looked at first: an end that comes between the two is seen in the next round.
        job = await asyncio.to_thread(store.get, job_id)
        events = await asyncio.to_thread(store.events, job_id, after=after)
        for event in events:
            yield event_bytes(event)
            after, heard_s = event.seq, time.monotonic()
            if event.is_last:
                return
        if events:
            continue
        if job is None or not job.is_live or not is_open():
            return
        if time.monotonic() - heard_s >= heartbeat_s:
            heard_s = time.monotonic()
            yield KEEPALIVE_COMMENT
        await asyncio.sleep(POLL_S)


def event_bytes(event: Event) -> bytes:
    """Returns one event on the wire."""
    return format_sse_event(event=event.name, data_str=json.dumps(event.data), id=str(event.seq))
