"""A request whose body comes as a test says: in pieces, slowly, or not at all."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from tests.support.waiting import PATIENCE_S


class OpenUpload:
    """A request to an app in process, sent as the test goes.

    Attributes:
        sent: messages of the response so far.
    """

    def __init__(
        self,
        served: Any,
        *,
        method: str = "POST",
        path: str = "/v1/predictions",
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.sent: list[Any] = []
        self._loop = served.transport._loop
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        named = {"content-type": "video/mp4", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "client": (address, 1),
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }

        async def send(message: Any) -> None:
            self.sent.append(message)

        work = served.transport.app(scope, self._messages.get, send)
        self._answer: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)

    def send(self, data: bytes = b"", *, ends: bool = False) -> None:
        """Sends a piece of the body."""
        self._put({"type": "http.request", "body": data, "more_body": not ends})

    def hang_up(self) -> None:
        """Closes the connection."""
        self._put({"type": "http.disconnect"})
        self._answer.exception(PATIENCE_S)

    @property
    def is_open(self) -> bool:
        """Whether nothing has been answered yet."""
        return not self._answer.done()

    def status(self) -> int:
        """Waits for the response; returns its status."""
        self._answer.result(PATIENCE_S)
        status: int = self.sent[0]["status"]
        return status

    def _put(self, message: Any) -> None:
        self._loop.call_soon_threadsafe(self._messages.put_nowait, message)
