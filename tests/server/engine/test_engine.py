import asyncio
import threading

import pytest
import torch

from model.errors import SegmentInvalid, UnknownTask
from server.engine.engine import Engine
from server.errors import Draining, FieldInvalid, NotReady, QueueFull
from tests.server.engine.fake_engine import started
from tests.server.fakes import FakePool, FakePredictor, clip, make_engine, make_settings


def test_it_is_ready_only_after_a_canary_went_through_every_stage():
    async def main():
        predictor = FakePredictor()
        engine = make_engine(make_settings(), predictor)
        with pytest.raises(NotReady):
            engine.life.require_ready()
        await engine.start()
        assert engine.life.state == "ready"
        assert predictor.encoder.batches
        assert predictor.batches == [1]
        await engine.stop()

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["load", "pool", "canary"])
def test_what_cannot_start_is_broken_and_says_why(broken):
    async def main():
        predictor, pool = FakePredictor(), FakePool()

        def fail(*_, **__):
            raise RuntimeError("no such luck")

        def load():
            return fail() if broken == "load" else predictor

        if broken == "pool":
            pool.start = fail
        if broken == "canary":
            predictor.predict = fail
        engine = Engine(make_settings(), load=load, pool=pool)
        await engine.start()
        assert engine.life.state == "broken"
        assert "no such luck" in str(engine.life.failure)
        with pytest.raises(NotReady):
            engine.life.require_ready()
        await engine.stop()

    asyncio.run(main())


def test_clips_asked_together_share_batches_and_get_their_own_answers(ask):
    async def main():
        async with started(decode_workers=4, max_wait_ms=200) as (engine, predictor, pool):
            alone = [await ask(engine, clip(100 + n, 20 * n)) for n in range(4)]
            barrier = threading.Barrier(4)
            pool.hold = lambda: barrier.wait(5)
            predictor.batches.clear()
            predictor.encoder.batches.clear()
            together = await asyncio.gather(*(ask(engine, clip(100 + n, 20 * n)) for n in range(4)))
        assert max(predictor.batches) > 1
        assert max(predictor.encoder.batches) > max(len(a.track.features) for a in alone)
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one.track.features, many.track.features)
            assert one.prediction == many.prediction

    asyncio.run(main())


def test_unknown_tasks_and_too_many_segments_are_refused_before_decoding(ask):
    async def main():
        async with started(max_segments=1) as (engine, _, pool):
            with pytest.raises(UnknownTask, match="ar, lta, oscc, pnr"):
                await ask(engine, tasks=["ar", "dance"])
            with pytest.raises(FieldInvalid, match="at most 1"):
                await ask(engine, segments=[(0, 1), (1, 2)])
            assert pool.decoded == 0

    asyncio.run(main())


def test_a_segment_outside_the_clip_is_refused_by_its_place(ask):
    async def main():
        async with started() as (engine, _, _):
            with pytest.raises(SegmentInvalid) as caught:
                await ask(engine, clip(frames=60), segments=[(0, 2), (1, 9)])
            assert caught.value.index == 1

    asyncio.run(main())


def test_admission_is_bounded_and_places_come_back():
    async def main():
        async with started(max_requests=2) as (engine, _, _):
            with engine.admit(), engine.admit(), pytest.raises(QueueFull) as caught, engine.admit():
                raise AssertionError("there was no third place")
            assert 1 <= caught.value.retry_after_s <= 60
            with engine.admit():
                pass

    asyncio.run(main())


def test_draining_refuses_new_work_and_finishes_the_old(ask):
    async def main():
        async with started() as (engine, _, pool):
            slow = asyncio.create_task(ask(engine, b"slow 0.1"))
            await asyncio.sleep(0.02)
            engine.life.drain()
            with pytest.raises(Draining), engine.admit():
                raise AssertionError("it was draining")
            assert (await slow).prediction.segments
        assert pool.is_closed

    asyncio.run(main())


def test_while_leaving_it_still_answers_but_asks_balancers_to_look_elsewhere(ask):
    async def main():
        async with started() as (engine, _, _):
            engine.life.stop_advertising()
            with pytest.raises(Draining):
                engine.life.require_ready()
            with engine.admit():
                assert (await ask(engine)).prediction.segments

    asyncio.run(main())
