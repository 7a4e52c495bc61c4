"""Live streams: a WebSocket whose messages are a video as it happens, and the answers to it.

The stream outlives its connection: see `server/live/session.py`.
"""

import asyncio
import json
from contextlib import suppress

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from server.api.middleware import CALLER
from server.api.protocol import CLOSE_HEARD
from server.api.uploads.receive import holder_of
from server.errors import MalformedRequest, ServerError
from server.live import endings
from server.live.endings import Ending, ending_of
from server.live.options import LiveOptions, LiveResume, parse_object, parse_opening
from server.live.registry import LiveRegistry
from server.live.session import LiveSession
from server.telemetry import logs

router = APIRouter()

SUBPROTOCOL = "egopack.live.v1"

OPENING_S = 10.0
"""Longest time to the first message."""

LEAVING_S = 1.0
"""Longest wait for the reason of a connection that takes no more messages."""

HEARD_S = 5.0
"""Longest wait for the answer to a close frame."""

REPLACED = Ending(endings.REFUSED, "replaced", "another connection goes on with this stream")


@router.websocket("/v1/live", name="live")
async def live(socket: WebSocket) -> None:
    """Follows a stream: options or a token first, then pictures or pieces of a container."""
    registry: LiveRegistry = socket.app.state.live
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        raise MalformedRequest(f"offer the subprotocol {SUBPROTOCOL}")
    caller, key = holder_of(socket), str(socket.scope.get(CALLER, ""))
    place = registry.admit(caller)
    is_kept, after = False, None
    try:
        await socket.accept(subprotocol=SUBPROTOCOL)
        opening = await _opening(socket)
        if isinstance(opening, LiveResume):
            session, after = _found(registry, opening, key), opening.after
        else:
            session = await registry.open(opening, place, caller, key)
            is_kept = True
    except WebSocketDisconnect:
        return
    except Exception as error:  # the outermost edge: the connection is open already
        await _refuse(socket, error.ending if isinstance(error, Refused) else ending_of(error))
        return
    finally:
        if place is not None and not is_kept:
            place.give_back()
    logs.note(stream=session.id)
    await LiveConnection(socket, registry, session, after).run()


class Refused(Exception):
    """A stream is not opened, for a reason of the protocol's own."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.detail)
        self.ending = ending


class LiveConnection:
    """One connection of a stream.

    Args:
        socket: accepted.
        registry: forgets the stream after its last message.
        session: the stream.
        after: number of the last message that the client has; None for a new stream.
    """

    def __init__(
        self,
        socket: WebSocket,
        registry: LiveRegistry,
        session: LiveSession,
        after: int | None = None,
    ) -> None:
        self._socket, self._registry, self._session = socket, registry, session
        self._after = after
        self._send_s = registry.settings.live_send_s

    async def run(self) -> None:
        """Receives and sends until one side ends it, or another connection takes over."""
        session = self._session
        replaced = session.attach()
        sending = asyncio.ensure_future(self._send(replaced))
        receiving = asyncio.ensure_future(self._receive(replaced))
        taken = asyncio.ensure_future(replaced.wait())
        try:
            await asyncio.wait({sending, receiving, taken}, return_when=asyncio.FIRST_COMPLETED)
            if replaced.is_set():
                await self._close(REPLACED)
                return
            if sending.done() and sending.exception() is None:
                if await self._is_heard():
                    self._registry.forget(session)
                else:
                    session.detach(replaced)  # what was under way may be fetched again
                return
            await asyncio.wait({receiving}, timeout=LEAVING_S)
            self._leave(receiving)
            session.detach(replaced)
        finally:
            for task in (sending, receiving, taken):
                task.cancel()
            await asyncio.gather(sending, receiving, taken, return_exceptions=True)

    async def _is_heard(self) -> bool:
        """Whether the client has read to the end, or will not."""
        heard: asyncio.Event | None = self._socket.scope["extensions"].get(CLOSE_HEARD)
        if heard is None or self._session.ending == endings.SLOW_READER:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_S):
                await heard.wait()
        return heard.is_set()

    def _leave(self, receiving: "asyncio.Future[None]") -> None:
        """Ends the stream, unless its connection only dropped."""
        error = receiving.exception() if receiving.done() else None
        if error is None:
            return
        if not isinstance(error, WebSocketDisconnect):
            self._session.end(ending_of(error))
        elif error.code == endings.TOO_LARGE:
            self._session.end(endings.too_large(self._registry.settings.live_message_bytes))
        elif error.code != endings.DROPPED:
            self._session.end(endings.GONE)
        else:
            return
        self._registry.forget(self._session)

    async def _send(self, replaced: asyncio.Event) -> None:
        outbox, seq = self._session.outbox, self._after or 0
        if self._after is not None:
            await self._write({"type": "resumed", "received": self._session.input.received})
        try:
            while (message := await outbox.next(seq)) is not None:
                async with asyncio.timeout(self._send_s):
                    await self._socket.send_text(message.text)
                seq = message.seq
                if not replaced.is_set():  # what is lost with this connection is not written
                    outbox.note_written(seq)
        except TimeoutError:
            self._session.end(endings.SLOW_READER)
        assert self._session.ending is not None
        await self._close(self._session.ending)

    async def _receive(self, replaced: asyncio.Event) -> None:
        session = self._session
        while True:
            message = await _message(self._socket)
            if replaced.is_set():  # read, but not counted as received: the new one brings it again
                return
            if isinstance(message, str):
                await self._take_text(message)
            elif session.input.is_over and not session.input.is_cut:
                session.end(Ending(endings.WRONG_KIND, "ended", "nothing may follow the end"))
            else:
                await session.feed(message)

    async def _take_text(self, text: str) -> None:
        try:
            kind = parse_object(text).get("type")
        except ServerError as error:
            self._session.end(ending_of(error))
            return
        if kind == "end":
            await self._session.finish()
        else:
            detail = 'the only text message after the first is {"type": "end"}'
            self._session.end(Ending(endings.WRONG_KIND, "unexpected-message", detail))

    async def _write(self, fields: dict[str, object]) -> None:
        """Writes a message that has no number of its own."""
        text = json.dumps({"seq": self._after or 0, **fields})
        async with asyncio.timeout(self._send_s):
            await self._socket.send_text(text)

    async def _close(self, ending: Ending) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # gone, or closed by the other side
            await self._socket.close(ending.close, ending.code or None)


async def _opening(socket: WebSocket) -> LiveOptions | LiveResume:
    """Returns what the first message says.

    Raises:
        Refused: it did not come in time, or is no text.
        MalformedRequest, FieldInvalid: as `parse_opening` does.
    """
    try:
        async with asyncio.timeout(OPENING_S):
            first = await _message(socket)
    except TimeoutError as error:
        detail = f"the options did not come within {OPENING_S:g} s"
        raise Refused(Ending(endings.REFUSED, "no-options", detail)) from error
    if isinstance(first, bytes):
        detail = "the first message is JSON, as text: the options, or a token"
        raise Refused(Ending(endings.WRONG_KIND, "unexpected-message", detail))
    return parse_opening(first)


def _found(registry: LiveRegistry, opening: LiveResume, key: str) -> LiveSession:
    session = registry.resume(opening.resume, opening.after, key)
    if session is None:
        raise Refused(endings.UNKNOWN)
    return session


async def _refuse(socket: WebSocket, ending: Ending) -> None:
    """Tells why, and closes."""
    text = json.dumps({"seq": 1, "type": "error", "code": ending.code, "detail": ending.detail})
    with suppress(WebSocketDisconnect):
        await socket.send_text(text)
        await socket.close(ending.close, ending.code)


async def _message(socket: WebSocket) -> str | bytes:
    """Returns the next message.

    Raises:
        WebSocketDisconnect: the connection ended; its code says how.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", endings.DROPPED))
    data: bytes | None = message.get("bytes")
    return str(message["text"]) if data is None else data
