"""Streams opened, found again and ended in time."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from model.errors import UnknownTask
from server.errors import Draining, QueueFull
from server.live import endings
from server.live import registry as registry_module
from server.live.options import LiveOptions
from server.live.registry import LiveRegistry
from tests.server.engine.conftest import started
from tests.support.waiting import wait_until


@asynccontextmanager
async def running(**settings):
    given = {"max_caller_share": 1.0, "live_windows_s": 1e6, **settings}
    async with started(**given) as (engine, _, _):
        registry = LiveRegistry(engine)
        try:
            yield registry, engine
        finally:
            await registry.stop()


async def opened(registry, caller="a", key=""):
    session = await registry.open(LiveOptions(), registry.admit(caller), caller, key)
    return session, session.attach()


def test_a_stream_is_found_by_its_token_and_key_alone():
    async def main():
        async with running() as (registry, _):
            session, _ = await opened(registry, key="ann")
            other, _ = await opened(registry)
            assert session.token != other.token
            assert registry.resume(session.token, 1, "ann") is session
            assert registry.resume(session.token, 1, "bob") is None
            assert registry.resume(session.token, 1) is None
            assert registry.resume(session.token, 99, "ann") is None  # no such message
            assert registry.resume("guess", 0) is None
            assert registry.resume(other.token, 1) is other  # from another address, too
            assert other.outbox._written == 1

    asyncio.run(main())


def test_a_dropped_stream_is_kept_for_a_while_and_then_gives_its_place_back():
    async def main():
        async with running(live_sessions=1, live_resume_s=60) as (registry, _):
            session, connection = await opened(registry)
            with pytest.raises(QueueFull):
                registry.admit("b")
            session.detach(connection)
            registry.check()
            assert registry.resume(session.token, 1) is session
            assert registry.admit("a") is None  # it may come back, and has its place
            with pytest.raises(QueueFull):
                await registry.open(LiveOptions(), None, "a")
            session._dropped_s -= 61
            registry.check()
            assert registry.resume(session.token, 1) is None
            assert session.ending == endings.GONE
            registry.admit("b")

    asyncio.run(main())


def test_a_server_that_stops_ends_streams_and_takes_none():
    async def main():
        async with running() as (registry, engine):
            session, _ = await opened(registry)
            engine.life.drain()
            registry.check()
            assert session.ending == endings.DRAINING
            with pytest.raises(Draining):
                registry.admit("a")

    asyncio.run(main())


def test_a_stream_of_unknown_tasks_is_not_opened_and_holds_nothing():
    async def main():
        async with running(live_sessions=1) as (registry, _):
            place = registry.admit("a")
            with pytest.raises(UnknownTask):
                await registry.open(LiveOptions(tasks=["juggling"]), place, "a")
            place.give_back()
            registry.admit("a")

    asyncio.run(main())


def test_the_watch_ends_what_is_idle():
    async def main():
        async with running(live_idle_s=0.05) as (registry, _):
            session, _ = await opened(registry)
            watching = asyncio.create_task(registry.watch())
            async with asyncio.timeout(10):
                await session.wait_ended()
            watching.cancel()
            assert session.ending.code == "idle"

    asyncio.run(main())


def test_memory_is_given_back_while_there_are_streams(monkeypatch):
    trimmed = []
    monkeypatch.setattr(registry_module, "CHECK_S", 0.001)
    monkeypatch.setattr(registry_module, "TRIM_S", 0.004)
    monkeypatch.setattr(registry_module, "_trim_heap", lambda: trimmed.append(1))

    async def main():
        async with running() as (registry, _):
            watching = asyncio.create_task(registry.watch())
            await asyncio.sleep(0.05)
            assert not trimmed
            await opened(registry)
            await wait_until(lambda: len(trimmed) > 2)
            watching.cancel()

    asyncio.run(main())


def test_the_heap_can_be_trimmed_here():
    registry_module._trim_heap()  # raises nothing, whatever the C library
