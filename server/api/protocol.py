"""Protocols of a connection: uvicorn on h11, with bounds of its own on heads and chunks.

h11 is the one parser: uvicorn would take httptools wherever that is installed, which bounds no
header and frames doubtful messages otherwise. A refusal in mid-body is heard: what the client
still sends is read for a while, and dropped, before the connection is closed. A WebSocket is
handed over to uvicorn on websockets, where a client that never reads cannot keep it open.
"""

import asyncio
from typing import Any
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.problem_types import HEADERS_TOO_LARGE, MALFORMED
from server.schemas.problems import MEDIA_TYPE, Problem

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers; the gateway's bounds, whose refusals say more, are lower."""

READ_BYTES = 64 * 1024
"""Bytes parsed before the event loop turns to other connections; asyncio's own are 256 KiB."""

FREE_CHUNKS = 4096
MIN_CHUNK_BYTES = 32
"""Chunks of a body may be of any size until there are `FREE_CHUNKS`; from then on their mean must
be as large as this: a chunk costs the same however short it is."""

LINGER_S = 10.0
LINGER_BYTES = 64 * 2**20
"""How long, and how much, is read of a body whose request has been answered."""

CLOSE_HEARD = "egopack.close-heard"
"""Extension in the scope of a WebSocket: an event, set when the client answers the close frame."""

ABORT_S = 15.0
"""After a close frame was written, when the connection is reset if it is still there."""


class _Connection(h11.Connection):
    """Counts the chunks of each body, and remembers why a message was refused."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._chunks = self._chunk_bytes = 0
        self.fault: h11.RemoteProtocolError | None = None

    def next_event(self) -> Any:
        """Returns the next event.

        Raises:
            RemoteProtocolError: the message is none, or its chunks are too short.
        """
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._chunks = self._chunk_bytes = 0
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    raise h11.RemoteProtocolError("the length of the body is given in two ways")
            elif isinstance(event, h11.Data):
                self._count(event)
        except h11.RemoteProtocolError as error:
            self.fault = error
            raise
        return event

    def _count(self, event: h11.Data) -> None:
        self._chunks += event.chunk_start
        self._chunk_bytes += len(event.data)
        if self._chunks > FREE_CHUNKS + self._chunk_bytes // MIN_CHUNK_BYTES:
            raise h11.RemoteProtocolError(
                f"the body comes in chunks of less than {MIN_CHUNK_BYTES} bytes; send longer ones"
            )


class _Lingering:
    """A transport that is closed only when the rest of a body was read, as far as it may be."""

    def __init__(self, transport: asyncio.Transport, protocol: "HttpProtocol") -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._protocol.is_leaving or self._transport.is_closing()

    def close(self) -> None:
        if self._protocol.is_leaving or not self._protocol.linger():
            self._transport.close()


class HttpProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn: _Connection = _Connection()
        self.is_leaving = False
        """The last answer has been sent, and the rest of a body is being dropped."""
        self._is_handed_over = False
        self._rest_bytes: int | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Prepares the connection."""
        if hasattr(transport, "max_size"):  # of asyncio's own loops
            transport.max_size = READ_BYTES
        super().connection_made(transport)
        self._wire = transport
        self.transport = _Lingering(transport, self)  # type: ignore[assignment]

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hands the connection over, without what lingers for the body of a request."""
        self.transport, self._is_handed_over = self._wire, True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what was waiting for the connection."""
        self._forget_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses bytes, or drops them after the last answer."""
        if self._rest_bytes is not None:
            self._rest_bytes -= len(data)
            if self._rest_bytes < 0:
                self._wire.abort()
        for start in range(0, len(data), READ_BYTES):  # a loop may read more at once
            if self.is_leaving or self._is_handed_over:
                return
            super().data_received(data[start : start + READ_BYTES])
        if self._rest_bytes is not None and self.conn.their_state is not h11.SEND_BODY:
            self._forget_rest()

    def eof_received(self) -> None:
        """Closes the connection if only the rest of a body was awaited."""
        if self.is_leaving:
            self._wire.close()

    def on_response_complete(self) -> None:
        """Bounds what is still read of a body that no answer depends on."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._bound_rest()

    def linger(self) -> bool:
        """Keeps reading after the last answer if a body is still coming; returns whether."""
        if self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) or self._wire.is_closing():
            return False
        self.is_leaving = True
        self.flow.resume_reading()
        if self._wire.can_write_eof():
            self._wire.write_eof()  # the client learns that the answer is complete
        self._bound_rest()
        return True

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request of HTTP/1.1 with a problem."""
        fault = self.conn.fault
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._wire.close()  # in the middle of an answer there is no place for another
            return
        is_long = fault is not None and fault.error_status_hint == HEADERS_TOO_LARGE.status
        kind = HEADERS_TOO_LARGE if is_long else MALFORMED
        body = Problem(kind, str(fault or msg)).body(uuid4().hex).model_dump_json(exclude_none=True)
        data = body.encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(data)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=kind.status, headers=headers),
            h11.Data(data=data),
            h11.EndOfMessage(),
        ):
            self._wire.write(self.conn.send(event))
        self.transport.close()

    def _bound_rest(self) -> None:
        self._forget_rest()
        self._rest_bytes = LINGER_BYTES
        self._closing = self.loop.call_later(LINGER_S, self._wire.abort)

    def _forget_rest(self) -> None:
        self._rest_bytes = None
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


class LiveSocket(WebSocketsSansIOProtocol):
    """One connection after its upgrade to a WebSocket.

    Closing waits until what was written has left, and writing the close frame does as well: both
    without end, if the client never reads.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._is_close_heard = asyncio.Event()

    def handle_connect(self, event: Any) -> None:
        """Starts the application."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[CLOSE_HEARD] = self._is_close_heard

    def handle_close(self, event: Any) -> None:
        """Ends the connection, or notes that the client has read to the end."""
        if self.close_sent:
            self._is_close_heard.set()
        super().handle_close(event)

    async def send(self, message: Any) -> None:
        """Writes a message; a close frame at once, behind what the client has not read."""
        is_close = message["type"] == "websocket.close"
        if is_close:
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # refused; uvicorn would log that nothing was decided
        if is_close:
            self.loop.call_later(ABORT_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Resets a connection that answers no ping, unless its answer waits to be read here."""
        if self.read_paused:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the application that no close frame came: a client may come back."""
        self.handshake_complete = False  # uvicorn would say 1005, as of a frame without a code
        super().connection_lost(exc)
