"""HTTP transport, asynchronous and blocking behind one protocol, so that calls are written once.

The blocking client drives the same coroutines: behind a `BlockingTransport` none ever suspends.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import httpx

T = TypeVar("T")


class Transport(Protocol):
    """The part of an httpx client that calls use."""

    def build(self, method: str, path: str, **parts: Any) -> httpx.Request:
        """Returns a request to the server."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Returns the response once its headers have arrived."""

    async def read(self, response: httpx.Response) -> None:
        """Reads the whole body."""

    def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Yields the body as it arrives."""

    async def close(self, response: httpx.Response) -> None:
        """Releases the connection."""

    async def sleep(self, seconds: float) -> None:
        """Pauses, for a retry."""


class AsyncTransport:
    """`Transport` on the running event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def build(self, method: str, path: str, **parts: Any) -> httpx.Request:
        return self._http.build_request(method, path, **parts)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        await response.aread()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for chunk in response.aiter_bytes():
            yield chunk

    async def close(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class BlockingTransport:
    """`Transport` that blocks the calling thread."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def build(self, method: str, path: str, **parts: Any) -> httpx.Request:
        return self._http.build_request(method, path, **parts)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self._http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        response.read()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for chunk in response.iter_bytes():
            yield chunk

    async def close(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine behind a `BlockingTransport`: it never suspends, so one step finishes it.

    Raises:
        RuntimeError: it suspended after all.
    """
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("only a coroutine behind a BlockingTransport can run without an event loop")


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Yields what an asynchronous generator behind a `BlockingTransport` yields."""
    try:
        while True:
            try:
                item = run_sync(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_sync(items.aclose())
