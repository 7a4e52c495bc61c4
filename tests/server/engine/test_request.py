import asyncio
import threading

import pytest

from server.errors import DeadlineExceeded
from tests.server.engine.fake_engine import started
from tests.server.fakes import wait_until


def test_an_expired_request_is_dropped_wherever_it_is(ask):
    async def main():
        async with started(decode_workers=1) as (engine, predictor, _):
            with pytest.raises(DeadlineExceeded):
                await ask(engine, timeout_s=-1)
            with pytest.raises(DeadlineExceeded):
                await ask(engine, b"slow 0.2", timeout_s=0.05)
            with pytest.raises(DeadlineExceeded):  # its deadline, not the decoder's limit
                await ask(engine, b"timeout 9", timeout_s=0.1)
            gate, is_held = threading.Event(), threading.Event()
            predictor.before_predict = lambda: (is_held.set(), gate.wait(5))
            held = asyncio.create_task(ask(engine))
            await wait_until(is_held.is_set)
            batches = len(predictor.batches)
            with pytest.raises(DeadlineExceeded):
                await ask(engine, timeout_s=0.1)
            gate.set()
            await held
            await asyncio.sleep(0.02)
            assert predictor.batches[batches:] == [1]

    asyncio.run(main())


def test_stages_are_timed_apart(ask):
    async def main():
        async with started() as (engine, _, _):
            times = (await ask(engine, b"slow 0.05")).times
        assert 0.05 <= times.decode_s < 1
        assert min(times.queue_s, times.features_s, times.reason_s) >= 0
        assert times.queue_s < 0.05

    asyncio.run(main())
