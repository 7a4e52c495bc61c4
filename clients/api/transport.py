"""The two ways to the network behind one face, so that everything above is written once.

Whoever blocks drives the same coroutines: behind a `BlockingPort` nothing ever waits for a loop.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import httpx

T = TypeVar("T")


class Transport(Protocol):
    """What is needed of a client of httpx."""

    def build(self, method: str, path: str, **parts: Any) -> httpx.Request:
        """Returns a request to the server."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Returns the response once its head is here."""

    async def read(self, response: httpx.Response) -> None:
        """Takes in the rest of it."""

    def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Yields the rest of it as it comes."""

    async def close(self, response: httpx.Response) -> None:
        """Lets go of it."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""


class AsyncPort:
    """To the network on the running event loop."""

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


class BlockingPort:
    """To the network from the calling thread, which waits."""

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
    """Returns what a coroutine behind a `BlockingPort` returns; it never waits, so one step does.

    Raises:
        RuntimeError: it waited after all.
    """
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("only what is behind a BlockingPort can be finished without a loop")


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Yields what an asynchronous generator behind a `BlockingPort` yields."""
    try:
        while True:
            try:
                item = run_sync(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_sync(_close(items))


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _close(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()
