"""AsyncEgoPackClient: a clip on disk -> answers, over HTTP, on an event loop."""

from types import TracebackType
from typing import Self

import httpx

from clients.api.session import RetryPolicy
from clients.api.transport import AsyncPort
from clients.calls import Calls, headers_of, may_use_proxy


class AsyncEgoPackClient(Calls):
    """Calls one server; use it as an asynchronous context manager, or close it.

    Its calls are those of `EgoPackClient`, to be awaited; `stream`, `jobs` and `job_events` are
    gone through with `async for`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        connect_s: float = 10.0,
        total_s: float | None = None,
        max_retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            base_url: such as "http://127.0.0.1:8080".
            api_key: sent as a bearer token.
            timeout_s: longest silence to put up with.
            connect_s: longest time until a connection stands.
            total_s: longest time for a whole call, with its retries; default: no limit.
            max_retries: how often to come back when the server is busy or the connection breaks.
            transport: replaces the network, for tests.
        """
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=headers_of(api_key),
            transport=transport,
            trust_env=may_use_proxy(base_url),
        )
        patience = RetryPolicy(connect_s, timeout_s, total_s, max_retries)
        super().__init__(AsyncPort(self._http), patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
