import asyncio
import threading

import pytest
import torch

from server.engine.engine import Engine
from server.errors import DeadlineExceeded, Draining, NotReady, OutOfMemory, QueueFull
from tests.server.engine.conftest import started
from tests.server.support.fakes import FakePool, FakePredictor, clip, make_engine, make_settings
from tests.support.waiting import PATIENCE_S, wait_until


def test_a_clip_becomes_windows_features_and_answers(ask):
    async def main():
        async with started() as (engine, predictor, _):
            passes = predictor.backbone_passes
            outcome = await ask(engine, clip(frames=240, grey=51))
            assert predictor.backbone_passes == passes + 1
        assert outcome.track.features.shape == (14, 4)
        assert torch.equal(outcome.track.features, torch.full((14, 4), 51.0))
        assert outcome.track.duration_s == 8.0
        assert outcome.prediction.segments[0].oscc.probability == pytest.approx(0.2)
        assert outcome.prediction.lta is not None

    asyncio.run(main())


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
            predictor.before_predict = lambda: (is_held.set(), gate.wait(PATIENCE_S))
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


def test_too_little_memory_halves_the_batches_once_and_costs_no_answer(ask):
    async def main():
        async with started(max_batch_windows=8) as (engine, predictor, _):
            encode, sizes = predictor.encoder.encode, []

            def small(windows):
                sizes.append(len(windows))
                if len(windows) > 4:
                    raise torch.OutOfMemoryError("full")
                return encode(windows)

            expected = (await ask(engine, clip(240, 51))).track.features
            predictor.encoder.encode = small
            assert torch.equal((await ask(engine, clip(240, 51))).track.features, expected)
            tried = [size for size in sizes if size > 4]
            sizes.clear()
            assert torch.equal((await ask(engine, clip(240, 51))).track.features, expected)
            assert max(sizes) == 4
            assert engine.telemetry.metrics.out_of_memory._value.get() == len(tried)

    asyncio.run(main())


def test_a_batch_of_which_not_even_half_fits_is_refused_and_the_next_clip_answered(ask):
    async def main():
        async with started(max_batch_windows=8) as (engine, predictor, _):
            encode = predictor.encoder.encode

            def full(windows):
                if len(windows) > 2:
                    raise torch.OutOfMemoryError("full")
                return encode(windows)

            predictor.encoder.encode = full
            with pytest.raises(OutOfMemory):
                await ask(engine, clip(240))
            assert engine.life.failure is None
            assert (await ask(engine, clip(33))).prediction.segments

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
