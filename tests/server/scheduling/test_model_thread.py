import asyncio
import os
import sys
import threading
from contextlib import asynccontextmanager

import pytest
import torch

from server.errors import NotReady
from server.scheduling.batcher import Priority
from server.scheduling.model_thread import NICENESS, ModelThread
from tests.server.support.fakes import FakePredictor, make_settings

FOREVER_S = 1e9


@asynccontextmanager
async def loaded(predictor, decoding=lambda: 0, **settings):
    model = ModelThread(make_settings(**settings), lambda: predictor, decoding)
    await model.load()
    try:
        yield model
    finally:
        await model.stop()


def windows(count, level, size=4):
    return torch.full((count, 32, size, size, 3), level, dtype=torch.uint8)


def test_there_is_no_model_before_it_is_loaded():
    async def main():
        model = ModelThread(make_settings(), FakePredictor, lambda: 0)
        with pytest.raises(NotReady):
            _ = model.predictor
        await model.load()
        assert model.predictor.name == "fake"
        await model.stop()

    asyncio.run(main())


def test_windows_of_any_size_can_wait_together():
    async def main():
        predictor = FakePredictor()
        async with loaded(predictor, decoding=lambda: 1, max_wait_ms=50) as model:
            clips = [windows(2, 10, 4), windows(3, 20, 6), windows(1, 30, 4)]
            futures = [model.enqueue_windows(predictor, c, deadline_s=FOREVER_S)[0] for c in clips]
            done = await asyncio.gather(*futures)
        assert sorted(predictor.encoder.batches) == [3, 3]
        assert [d.value[:, 0].tolist() for d in done] == [[10.0] * 2, [20.0] * 3, [30.0]]

    asyncio.run(main())


def test_the_model_is_touched_by_one_thread_and_takes_few_cores_while_clips_decode():
    async def main():
        predictor, seen = FakePredictor(), []
        encode = predictor.encoder.encode
        cores = torch.get_num_threads()

        def note(batch):
            seen.append((threading.get_ident(), torch.get_num_threads()))
            return encode(batch)

        predictor.encoder.encode = note
        busy = 0
        async with loaded(predictor, decoding=lambda: busy, max_wait_ms=0) as model:
            for busy in (0, 1, 99):  # noqa: B007
                await model.enqueue_windows(predictor, windows(1, 1), deadline_s=FOREVER_S)[0]
        assert len({thread for thread, _ in seen}) == 1
        assert threading.get_ident() not in {thread for thread, _ in seen}
        assert [count for _, count in seen] == [cores, max(1, cores - 1), 1]
        assert torch.get_num_threads() == cores

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is the whole process's")
def test_the_time_of_a_window_is_measured_as_it_is_encoded():
    async def main():
        async with loaded(FakePredictor()) as model:
            assert model.window_s == 0.0
            for _ in range(2):
                (future,) = model.enqueue_windows(
                    model.predictor, windows(4, 10), deadline_s=FOREVER_S, priority=Priority.LIVE
                )
                ran_s = (await future).ran_s
            assert model.window_s > 0.0
            for _ in range(200):  # the latest batches count
                model._measure(10, 0.5)
            assert model.window_s == pytest.approx(0.05, abs=1e-6)
            assert ran_s > 0

    asyncio.run(main())


def test_the_models_thread_lets_the_event_loop_go_first():
    def own_niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def main():
        found, predictor = [], FakePredictor()
        async with loaded(predictor) as model:
            before = own_niceness()
            await model.run(predictor, lambda _: found.append(own_niceness()))
            assert found == [min(19, before + NICENESS)]
            assert own_niceness() == before

    asyncio.run(main())
