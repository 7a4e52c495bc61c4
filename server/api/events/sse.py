"""Server-sent events: progress of a synchronous request."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.errors import CallerGone

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
"""Interval of keep-alive comments on an idle connection, which a proxy might close otherwise."""

_END = b""

Post = Callable[[str, BaseModel], None]
"""Takes an event's name and data."""


def event_bytes(name: str, body: BaseModel) -> bytes:
    """Returns one event in wire format."""
    text = body.model_dump_json(exclude_none=True, by_alias=True)
    return format_sse_event(event=name, data_str=text)


class EventStream(Response):
    """Runs a coroutine and streams the events that it posts; `completed` or `error` is the last.

    The response starts with the first event: an exception before it is raised as from a plain
    endpoint. Detecting a client's disconnect is left to the coroutine.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        work: Callable[[Post], Awaitable[BaseModel]],
        explain: Callable[[Exception], BaseModel],
        *,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """Prepares a stream.

        Args:
            work: posts events and returns the data of `completed`.
            explain: turns an exception of `work` into the data of `error`.
            heartbeat_s: longest time without output.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._work, self._explain, self._heartbeat_s = work, explain, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams; raises what `work` raises before its first event."""
        posted: asyncio.Queue[bytes] = asyncio.Queue()
        working = asyncio.ensure_future(
            self._work(lambda name, body: posted.put_nowait(event_bytes(name, body)))
        )
        working.add_done_callback(lambda _: posted.put_nowait(_END))
        has_begun = False
        try:
            while (chunk := await self._next(posted, has_begun=has_begun)) != _END:
                if not has_begun:
                    has_begun = True
                    await self._begin(send)
                await _write(send, chunk)
            if not has_begun:
                working.result()  # raises the exception of `work`
                await self._begin(send)
            if not isinstance(working.exception(), CallerGone):
                await _write(send, self._last(working), more=False)
        finally:
            working.cancel()

    async def _next(self, posted: "asyncio.Queue[bytes]", *, has_begun: bool) -> bytes:
        """The next event or, once the response has begun, a keep-alive comment."""
        try:
            async with asyncio.timeout(self._heartbeat_s if has_begun else None):
                return await posted.get()
        except TimeoutError:
            return KEEPALIVE_COMMENT

    def _last(self, working: "asyncio.Future[BaseModel]") -> bytes:
        error = working.exception()
        if error is None:
            return event_bytes("completed", working.result())
        if not isinstance(error, Exception):
            raise error
        return event_bytes("error", self._explain(error))

    async def _begin(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})


async def _write(send: Send, chunk: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})
