import asyncio
import inspect

import pytest

from clients.api.transport import iterate_sync, run_sync
from clients.client import AsyncEgoPackClient, Calls, EgoPackClient


def calls_of(cls):
    return {name for name in dir(cls) if not name.startswith("_")} - {"close"}


def test_both_clients_make_every_call_and_no_other():
    own = calls_of(Calls) | {"live"}  # a WebSocket, not a call over this transport
    assert calls_of(EgoPackClient) == calls_of(AsyncEgoPackClient) == own


@pytest.mark.parametrize("name", sorted(calls_of(Calls)))
def test_a_call_is_described_alike_by_both(name):
    ours, theirs = getattr(EgoPackClient, name), getattr(AsyncEgoPackClient, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert inspect.getdoc(ours) == inspect.getdoc(theirs)


def test_what_waits_for_a_loop_cannot_be_finished_without_one():
    async def wait():
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="BlockingTransport"):
        run_sync(wait())


def test_what_is_left_early_is_closed():
    closed = []

    async def numbers():
        try:
            for number in range(9):
                yield number
        finally:
            closed.append(number)

    for number in iterate_sync(numbers()):
        if number == 2:
            break
    del number
    assert closed == [2]
    assert list(iterate_sync(numbers())) == list(range(9))
