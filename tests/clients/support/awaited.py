"""AsyncEgoPackClient with the face of EgoPackClient, so that one test tries both."""

import asyncio
import inspect

from clients.client import AsyncEgoPackClient


class Awaited:
    """Runs each call on an event loop of its own until it is done."""

    def __init__(self, base_url, **options):
        self._runner = asyncio.Runner()
        self._client = AsyncEgoPackClient(base_url, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name):
        call = getattr(self._client, name)

        def run(*args, **kwargs):
            made = call(*args, **kwargs)
            return self._each(made) if inspect.isasyncgen(made) else self._runner.run(made)

        return run

    def _each(self, items):
        try:
            while True:
                try:
                    yield self._runner.run(anext_of(items))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(items.aclose())


async def anext_of(items):
    return await anext(items)
