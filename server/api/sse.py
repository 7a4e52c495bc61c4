"""Server-sent events: the same work, told of as it goes."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.errors import CallerGone

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
"""A silent connection is told this often that it is alive; proxies close those that are not."""

_END = b""

Post = Callable[[str, BaseModel], None]
"""Takes the name of an event and what it says."""


def event_bytes(name: str, body: BaseModel, *, event_id: str | None = None) -> bytes:
    """Returns one event on the wire."""
    text = body.model_dump_json(exclude_none=True, by_alias=True)
    return format_sse_event(event=name, data_str=text, id=event_id)


class EventStream(Response):
    """Runs the work while it streams what is posted; `completed` or `error` comes last.

    Nothing is sent before the first event, so what fails earlier is answered as if no stream had
    been asked for. Whether the caller is still there is for the work to see.
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
            work: posts events and returns the body of `completed`.
            explain: turns its failure into the body of `error`.
            heartbeat_s: longest silence.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._work, self._explain, self._heartbeat_s = work, explain, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams; raises what the work raises before its first event."""
        posted: asyncio.Queue[bytes] = asyncio.Queue()
        working = asyncio.ensure_future(
            self._work(lambda name, body: posted.put_nowait(event_bytes(name, body)))
        )
        working.add_done_callback(lambda _: posted.put_nowait(_END))
        has_begun = False
        try:
            while (chunk := await self._next(posted, is_silent=not has_begun)) != _END:
                if not has_begun:
                    has_begun = True
                    await self._begin(send)
                await _write(send, chunk)
            if not has_begun:
                working.result()  # raises what went wrong
                await self._begin(send)
            if not _is_unheard(working):
                await _write(send, self._last(working), more=False)
        finally:
            working.cancel()

    async def _next(self, posted: "asyncio.Queue[bytes]", *, is_silent: bool) -> bytes:
        """The next event, or a heartbeat; while silent, nothing but an event."""
        try:
            async with asyncio.timeout(None if is_silent else self._heartbeat_s):
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


def _is_unheard(working: "asyncio.Future[BaseModel]") -> bool:
    """Whether the work ended because nobody is there to hear of it."""
    return isinstance(working.exception(), CallerGone)


async def _write(send: Send, chunk: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})
