import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import DeadlineExceeded, Draining, QueueFull
from server.scheduling.batcher import MAX_OVERTAKEN, Batcher, Launched, Priority
from tests.support.waiting import PATIENCE_S

FOREVER_S = 1e9


class Doubler:
    """Doubles numbers; `gate` holds the thread, -1 is a poisoned item."""

    def __init__(self):
        self.batches = []
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items):
        self.gate.wait(PATIENCE_S)
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        if -1 in items:
            raise ValueError("poison")
        return [2 * item for item in items]


@asynccontextmanager
async def running(run, **options):
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(run, executor=executor, **{"max_cost": 8, "capacity": 100} | options)
        batcher.start()
        try:
            yield batcher
        finally:
            await batcher.stop()


async def held(batcher, run, count=1):
    """Occupies the thread, so that what comes next waits."""
    run.gate.clear()
    first = [asyncio.create_task(batcher.submit(100, deadline_s=FOREVER_S)) for _ in range(count)]
    await asyncio.sleep(0.02)
    return first


def test_everyone_gets_their_own_answer_from_one_thread():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            done = await asyncio.gather(
                *(batcher.submit(n, deadline_s=FOREVER_S) for n in range(50))
            )
        assert [d.value for d in done] == [2 * n for n in range(50)]
        assert len(run.threads) == 1
        assert sorted(n for batch in run.batches for n in batch) == list(range(50))
        assert max(map(len, run.batches)) == 8

    asyncio.run(main())


def test_items_that_wait_together_run_together_up_to_the_cost():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            rest = [
                asyncio.create_task(batcher.submit(n, deadline_s=FOREVER_S, cost=3))
                for n in range(3)
            ]
            await asyncio.sleep(0)
            run.gate.set()
            await asyncio.gather(*first, *rest)
        assert run.batches == [[100], [0, 1], [2]]

    asyncio.run(main())


def test_an_item_dearer_than_a_batch_runs_alone():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            done = await batcher.submit(1, deadline_s=FOREVER_S, cost=99)
        assert done.value == 2

    asyncio.run(main())


def test_it_waits_for_mates_only_while_more_are_coming():
    async def main(is_more_coming):
        run = Doubler()
        options = {"max_wait_s": 0.2, "is_more_coming": lambda: is_more_coming}
        async with running(run, **options) as batcher:
            first = asyncio.create_task(batcher.submit(1, deadline_s=FOREVER_S))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(batcher.submit(2, deadline_s=FOREVER_S))
            await asyncio.gather(first, second)
        return run.batches

    assert asyncio.run(main(True)) == [[1, 2]]
    assert asyncio.run(main(False)) == [[1], [2]]


def test_a_cancelled_item_never_runs():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            doomed = asyncio.create_task(batcher.submit(7, deadline_s=FOREVER_S))
            await asyncio.sleep(0)
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
            run.gate.set()
            await asyncio.gather(*first)
            assert (await batcher.submit(8, deadline_s=FOREVER_S)).value == 16
        assert [7] not in run.batches

    asyncio.run(main())


def test_an_expired_item_never_runs():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            soon_s = asyncio.get_running_loop().time() + 0.01
            late = asyncio.create_task(batcher.submit(7, deadline_s=soon_s))
            await asyncio.sleep(0.03)
            run.gate.set()
            with pytest.raises(DeadlineExceeded):
                await late
            await asyncio.gather(*first)
        assert run.batches == [[100]]

    asyncio.run(main())


def test_a_full_queue_refuses_at_once_and_recovers():
    async def main():
        run = Doubler()
        async with running(run, capacity=2) as batcher:
            first = await held(batcher, run)
            waiting = [
                asyncio.create_task(batcher.submit(n, deadline_s=FOREVER_S)) for n in range(2)
            ]
            await asyncio.sleep(0)
            with pytest.raises(QueueFull):
                await batcher.submit(9, deadline_s=FOREVER_S)
            run.gate.set()
            await asyncio.gather(*first, *waiting)
            assert (await batcher.submit(9, deadline_s=FOREVER_S)).value == 18

    asyncio.run(main())


def test_a_bad_item_fails_alone():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            mixed = [
                asyncio.create_task(batcher.submit(n, deadline_s=FOREVER_S)) for n in (1, -1, 2)
            ]
            await asyncio.sleep(0)
            run.gate.set()
            one, bad, two = await asyncio.gather(*mixed, return_exceptions=True)
            await asyncio.gather(*first)
        assert (one.value, two.value) == (2, 4)
        assert isinstance(bad, ValueError)

    asyncio.run(main())


def test_a_function_that_loses_items_fails_its_callers_and_not_the_queue():
    async def main():
        answers = iter([[], [1]])
        async with running(lambda items: next(answers)) as batcher:
            with pytest.raises(RuntimeError, match="came back with 0"):
                await batcher.submit(1, deadline_s=FOREVER_S)
            assert (await batcher.submit(1, deadline_s=FOREVER_S)).value == 1

    asyncio.run(main())


def test_what_still_waits_at_the_stop_is_told_so():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            waiting = asyncio.create_task(batcher.submit(1, deadline_s=FOREVER_S))
            await asyncio.sleep(0)
            await batcher.stop()
            with pytest.raises(Draining):
                await waiting
            run.gate.set()
            for task in first:
                task.cancel()

    asyncio.run(main())


def test_waiting_and_running_are_timed_apart():
    async def main():
        run = Doubler()
        async with running(run) as batcher:
            first = await held(batcher, run)
            second = asyncio.create_task(batcher.submit(1, deadline_s=FOREVER_S))
            await asyncio.sleep(0.05)
            run.gate.set()
            done = await second
            await asyncio.gather(*first)
            assert done.waited_s >= 0.04
            assert done.ran_s < done.waited_s

    asyncio.run(main())


class Turns:
    """Notes whose batch ran; items are (priority, number)."""

    def __init__(self):
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        return [0] * len(items)

    @property
    def priorities(self):
        return [batch[0][0] for batch in self.batches]


def fill(batcher, items):
    return [
        batcher.enqueue((priority, n), deadline_s=FOREVER_S, priority=priority)
        for n, priority in enumerate(items)
    ]


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.sampled_from(Priority), max_size=80), max_cost=st.integers(1, 5))
def test_higher_priorities_go_first_and_none_is_starved(items, max_cost):
    async def main():
        run = Turns()
        limits = {"max_cost": max_cost, "max_low_cost": 2, "max_live_cost": 3}
        async with running(run, **limits) as batcher:
            await asyncio.gather(*fill(batcher, items))
        return run

    run = asyncio.run(main())
    for batch in run.batches:  # priorities do not share a batch
        assert len({priority for priority, _ in batch}) == 1
        most = {Priority.LOW: 2, Priority.LIVE: 3}.get(batch[0][0], max_cost)
        assert len(batch) <= min(most, max_cost)
    for priority in Priority:  # first come, first served among equals
        ran = [n for batch in run.batches for given, n in batch if given is priority]
        assert ran == [n for n, given in enumerate(items) if given is priority]
    overtaken = dict.fromkeys(Priority, 0)
    for turn, chosen in enumerate(run.priorities):
        waiting = set(run.priorities[turn:])
        if chosen is not min(waiting):
            assert overtaken[chosen] >= MAX_OVERTAKEN
        for priority in waiting:
            overtaken[priority] = 0 if priority is chosen else overtaken[priority] + 1
            assert overtaken[priority] <= MAX_OVERTAKEN + 1  # two may be due at once


def test_one_of_high_priority_waits_for_one_low_batch_at_most():
    async def main():
        run = Doubler()
        async with running(run, max_low_cost=1) as batcher:
            run.gate.clear()  # the first one begins, and is held
            low = [
                batcher.enqueue(n, deadline_s=FOREVER_S, priority=Priority.LOW) for n in range(20)
            ]
            await asyncio.sleep(0.02)
            high = batcher.enqueue(100, deadline_s=FOREVER_S)
            run.gate.set()
            await high
            assert run.batches.index([100]) == 1
            await asyncio.gather(*low)

    asyncio.run(main())


class Device:
    """Doubles numbers some time after the call that launched them; -1 fails on it."""

    def __init__(self):
        self.log = []
        self.gates = {}

    def __call__(self, items):
        if items == [-1]:
            raise ValueError("poison")
        self.log.append(("launched", *items))
        self.gates[items[0]] = gate = threading.Event()

        def wait():
            assert gate.wait(PATIENCE_S)
            self.log.append(("fetched", *items))
            if -1 in items:
                raise ValueError("poison")

        return Launched([2 * item for item in items], wait)

    async def until(self, *event):
        async with asyncio.timeout(PATIENCE_S):
            while event not in self.log:
                await asyncio.sleep(0.001)


def test_a_batch_is_launched_before_the_one_before_is_fetched_and_two_are_under_way():
    async def main():
        device = Device()
        async with running(device, max_cost=1) as batcher:
            futures = [batcher.enqueue(n, deadline_s=FOREVER_S) for n in range(4)]
            await device.until("launched", 1)
            assert device.log == [("launched", 0), ("launched", 1)]
            for n in range(4):
                await device.until("launched", n)
                device.gates[n].set()
                await device.until("fetched", n)
            done = await asyncio.gather(*futures)
        assert [one.value for one in done] == [0, 2, 4, 6]
        after = device.log.index
        assert after(("fetched", 0)) < after(("launched", 2)) < after(("fetched", 2))

    asyncio.run(main())


def test_an_item_that_fails_on_the_device_fails_alone():
    async def main():
        device = Device()
        async with running(device) as batcher:
            futures = [batcher.enqueue(n, deadline_s=FOREVER_S) for n in (5, -1)]
            await device.until("launched", 5, -1)
            device.gates[5].set()
            await device.until("launched", 5)
            device.gates[5].set()
            good, bad = await asyncio.gather(*futures, return_exceptions=True)
        assert good.value == 10
        assert isinstance(bad, ValueError)

    asyncio.run(main())
