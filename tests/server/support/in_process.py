"""An app without a socket, for ordinary (synchronous) httpx clients."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from server.api.app import create_app
from server.engine.engine import Engine
from server.settings.settings import Settings
from tests.support.waiting import PATIENCE_S, wait_for


class AppTransport(httpx.BaseTransport):
    """Runs an app, its start and stop included, on a loop of its own in another thread."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._asgi = httpx.ASGITransport(app)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._lifespan = app.router.lifespan_context(app)

    def start(self) -> None:
        self._thread.start()
        self.run(self._lifespan.__aenter__())

    def stop(self) -> None:
        self.run(self._lifespan.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close(self) -> None:
        """A client that closes leaves the app running for the next one."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        async def body() -> Any:
            for chunk in request.stream:  # type: ignore[union-attr]
                yield chunk

        headers = request.headers.raw
        forwarded = httpx.Request(request.method, request.url, headers=headers, content=body())
        for name in ("transfer-encoding", "content-length"):
            if name not in request.headers:
                forwarded.headers.pop(name, None)
        answer = await self._asgi.handle_async_request(forwarded)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=PATIENCE_S)


def wait_for_ready(engine: Engine, http: httpx.Client) -> None:
    """Waits until the app takes requests; a failure to start ends the wait."""

    def is_ready() -> bool:
        assert engine.life.failure is None, engine.life.failure
        return http.get("/readyz").status_code == 200

    wait_for(is_ready, pause_s=0.005)


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A client of an app that serves with the settings, once it is ready."""
    engine = Engine.from_settings(settings)
    transport = AppTransport(create_app(settings, engine))
    transport.start()
    with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as client:
        wait_for_ready(engine, client)
        yield client
    transport.stop()
