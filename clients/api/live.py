"""Live streams over a WebSocket: frames go out while answers come in; a broken connection resumes.

What the server has not taken in yet is kept and sent again, so a resumed stream has no hole; every
message of the server has a number, so none is lost or given twice.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from clients.api.outgoing import Frames, Outbox, collect, iterate
from clients.errors import (
    BadClip,
    Busy,
    ClientError,
    Rejected,
    ServerFault,
    Unreachable,
    error_of,
)
from clients.results.live import LiveMessage, LiveSummary, check_object, live_message

PATH = "/v1/live"
PROTOCOL = Subprotocol("egopack.live.v1")

RESUME_S = 60.0
"""How long a broken connection is tried again: as long as the server keeps the stream."""

_RETRY_S = (0.2, 0.5, 1.0, 2.0)
_CLOSED: dict[int, type[ClientError]] = {
    1001: Busy,
    1003: Rejected,
    1007: Rejected,
    1008: Rejected,
    1009: Rejected,
    1013: Busy,
    4400: BadClip,
    4404: Rejected,
}
"""Close code -> error; what is not here is the server's fault."""


class LiveChoices(TypedDict, total=False):
    """Options of a live stream.

    Attributes:
        tasks: to answer; default: all.
        rate: frames a second of the source, which then stand for their times.
        segment_s: length of the segment that is answered, which ends now.
        every: strides of the encoder between two answers.
        forecast_every: strides between two forecasts; 0: none.
        top_k: labels of each ranked list.
        evidence: retrieved prototypes and votes, too.
        answers: each answer as it comes.
        events: actions that begin and end.
        skip: a server that cannot keep up leaves windows out; False: it slows the stream down, for
            a recording that must miss nothing.
    """

    tasks: list[str] | None
    rate: float | None
    segment_s: float
    every: int
    forecast_every: int
    top_k: int
    evidence: bool
    answers: bool
    events: bool
    skip: bool


@dataclass(frozen=True)
class LivePlace:
    """Where a stream goes.

    Attributes:
        url: base URL of the server.
        api_key: if it wants one.
        connect_s: longest time to connect.
        may_use_proxy: one of the environment.
    """

    url: str
    api_key: str | None
    connect_s: float = 10.0
    may_use_proxy: bool = True

    def connection(self) -> connect:
        """Returns a connection to be opened."""
        base = httpx.URL(self.url)
        scheme = {"http": "ws", "https": "wss"}.get(base.scheme, base.scheme)
        path = base.path.rstrip("/") + PATH
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else None
        return connect(
            str(base.copy_with(scheme=scheme, path=path)),
            subprotocols=[PROTOCOL],
            additional_headers=headers,
            open_timeout=self.connect_s,
            max_size=None,
            compression=None,  # pictures are compressed, and answers are short
            proxy=True if self.may_use_proxy else None,
        )


async def live_messages(
    place: LivePlace, frames: Frames, choices: LiveChoices
) -> AsyncGenerator[LiveMessage, None]:
    """Yields the server's messages about a stream, up to the summary.

    Args:
        place: the server.
        frames: of the stream; an ordinary iterable is read in a thread, and may block.
        choices: options.

    Raises:
        Busy: the server is full, starting or stopping.
        Rejected: an option, or the stream (`BadClip`), is at fault.
        ServerFault: the server failed.
        Unreachable: there is no connection, or none again in time.
        ValueError: there is no frame.
    """
    items = iterate(frames)
    try:
        first = await anext(items)
    except StopAsyncIteration:
        raise ValueError("the stream has no frame") from None
    kind: Literal["pictures", "container"] = "container" if isinstance(first, bytes) else "pictures"
    stream = _Stream(place, {**choices, "input": kind})
    collecting = asyncio.create_task(collect(first, items, stream.outbox))
    try:
        async with aclosing(stream.messages(collecting)) as messages:
            async for message in messages:
                yield message
    finally:
        collecting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await collecting


class _Stream:
    """One stream over as many connections as it takes."""

    def __init__(self, place: LivePlace, options: dict[str, Any]) -> None:
        self.outbox = Outbox()
        self._place, self._options = place, options
        self._token = ""
        self._seen = 0
        self._error = "", ""

    async def messages(self, collecting: asyncio.Task[None]) -> AsyncGenerator[LiveMessage, None]:
        broken_at, attempt = 0.0, 0
        while True:
            try:
                async with self._place.connection() as connection:
                    await connection.send(json.dumps(self._opening()))
                    async with aclosing(self._talk(connection, collecting)) as talk:
                        async for message in talk:
                            broken_at, attempt = 0.0, 0
                            yield message
                            if isinstance(message, LiveSummary):
                                return
            except InvalidStatus as error:
                raise _refusal(error) from error
            except ConnectionClosed as error:
                if error.rcvd is not None:
                    raise self._closed(error.rcvd.code, error.rcvd.reason) from error
                cause: Exception = error
            except (OSError, TimeoutError, InvalidHandshake) as error:
                if collecting.done() and collecting.exception() is error:
                    raise  # of the source, not of the connection
                cause = error
            broken_at = broken_at or time.monotonic()
            if not self._token or time.monotonic() - broken_at > RESUME_S:
                raise Unreachable(f"the live connection broke: {cause!r}") from cause
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1

    def _opening(self) -> dict[str, Any]:
        if self._token:
            return {"resume": self._token, "after": self._seen}
        return {name: value for name, value in self._options.items() if value is not None}

    async def _talk(
        self, connection: ClientConnection, collecting: asyncio.Task[None]
    ) -> AsyncGenerator[LiveMessage, None]:
        """Sends frames and yields messages, until the summary or the connection's end."""
        sending: asyncio.Task[None] | None = None
        try:
            async for text in connection:
                if collecting.done():
                    collecting.result()  # the source's own error
                values = check_object(json.loads(text))
                kind, seq = values.get("type"), int(values.get("seq", 0))
                if kind in ("ready", "resumed"):
                    self._token = str(values.get("token") or self._token)
                    received = int(values["received"])
                    await self.outbox.acknowledge(received)
                    sending = asyncio.create_task(self._send(connection, received))
                elif kind == "ack":
                    await self.outbox.acknowledge(int(values["received"]))
                elif kind == "error":  # the close code that follows says of what kind
                    self._error = str(values.get("code", "")), str(values.get("detail", ""))
                if kind == "resumed" or seq <= self._seen:
                    continue
                self._seen = seq
                message = live_message(values)
                if message is not None:
                    yield message
            # An orderly end, but without a summary.
            raise self._closed(connection.close_code or 1006, connection.close_reason or "")
        except (KeyError, ValueError) as error:
            raise ServerFault(f"a message of the server is malformed: {error!r}") from error
        finally:
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError, ConnectionClosed):
                    await sending

    def _closed(self, close: int, reason: str) -> ClientError:
        code, detail = self._error
        words = detail or reason or f"the server closed the stream (code {close})"
        return _CLOSED.get(close, ServerFault)(words, code=code or str(close))

    async def _send(self, connection: ClientConnection, start: int) -> None:
        async for message in self.outbox.messages(start):
            await connection.send(message)
        await connection.send(json.dumps({"type": "end"}))


def _refusal(error: InvalidStatus) -> ClientError:
    response = error.response
    try:
        problem = json.loads(bytes(response.body or b""))
    except ValueError:
        problem = {}
    wait = response.headers.get("Retry-After", "")
    wait_s = float(wait) if wait.isdecimal() else None
    return error_of(response.status_code, problem if isinstance(problem, dict) else {}, wait_s)
