"""A client of live streams, message by message."""

import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import PATIENCE_S

SUBPROTOCOL = "egopack.live.v1"


class Live:
    """One connection.

    Attributes:
        got: messages of the server so far.
        close: code of the end; None while it is open, 1006 without a close frame.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []
        self.close: int | None = None

    def say(self, **fields: Any) -> None:
        """Sends text."""
        self.socket.send(json.dumps(fields))

    def send(self, data: bytes) -> None:
        """Sends a picture or a piece."""
        self.socket.send(data)

    def read(self, until: Callable[[dict[str, Any]], bool] | str) -> dict[str, Any] | None:
        """Reads until a type of message, or a condition; None if the connection ends before."""
        while self.close is None:
            try:
                self.got.append(json.loads(self.socket.recv(PATIENCE_S)))
            except ConnectionClosed as error:
                self.close = 1006 if error.rcvd is None else error.rcvd.code
                return None
            latest = self.got[-1]
            if latest["type"] == until if isinstance(until, str) else until(latest):
                return latest
        return None

    def read_all(self) -> list[dict[str, Any]]:
        """Reads to the end."""
        self.read("nothing")
        return self.got

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one type."""
        return [message for message in self.got if message["type"] == kind]

    def drop(self) -> None:
        """Loses the connection, without a close frame."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)


@contextmanager
def dialled(
    address: str, *, key: str | None = None, protocol: str | None = SUBPROTOCOL, **options: Any
) -> Iterator[Live]:
    """Opens a connection.

    Args:
        address: host and port.
        key: sent as a page does, among the subprotocols.
        protocol: the subprotocol; None offers none.
        options: of the library's `connect`.
    """
    offered = [] if protocol is None else [protocol]
    if key is not None:
        offered.append(f"egopack.key.{base64.urlsafe_b64encode(key.encode()).decode().rstrip('=')}")
    given: dict[str, Any] = {"max_size": None, "close_timeout": 1, **options}
    with connect(
        f"ws://{address}/v1/live", subprotocols=offered or None, proxy=None, **given
    ) as connection:
        yield Live(connection)
