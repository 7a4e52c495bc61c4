import asyncio
import threading

import pytest

from server.errors import JobsUnavailable, OutcomeUnknown
from server.jobs.threads import Threads
from tests.support.waiting import PATIENCE_S, wait_until


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_resource_that_hangs_is_given_up_in_bounded_time(gate, monkeypatch):
    monkeypatch.setattr("server.jobs.threads.START_S", 0.05)
    monkeypatch.setattr("server.jobs.threads.END_S", 0.05)
    done = []

    async def main():
        threads = Threads("test", 1)
        begun = threading.Event()
        hanging = asyncio.create_task(threads.call(lambda: (begun.set(), gate.wait(PATIENCE_S))))
        await wait_until(begun.is_set)
        with pytest.raises(JobsUnavailable) as never_begun:
            await threads.call(done.append, 1)
        assert not isinstance(never_begun.value, OutcomeUnknown)
        with pytest.raises(OutcomeUnknown):
            await hanging
        gate.set()
        monkeypatch.setattr("server.jobs.threads.START_S", PATIENCE_S)
        assert await threads.call(lambda x, *, y: x + y, 1, y=2) == 3
        with pytest.raises(ZeroDivisionError):
            await threads.call(lambda: 1 // 0)
        threads.close()

    asyncio.run(main())
    assert done == []  # refused, so never begun
