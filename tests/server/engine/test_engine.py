import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch

from extract.errors import DecoderDied, DecodeTimeout, VideoRejected
from model.errors import SegmentInvalid, UnknownTask
from server.engine.engine import Engine
from server.errors import DeadlineExceeded, Draining, FieldInvalid, NotReady, OutOfMemory, QueueFull
from server.schemas.options import PredictOptions
from tests.server.fakes import FakePool, FakePredictor, clip, make_engine, make_settings, wait_until
from weights.errors import RemoteFailed


@asynccontextmanager
async def started(**values):
    predictor, pool = FakePredictor(), FakePool()
    engine = make_engine(make_settings(**values), predictor, pool)
    await engine.start()
    assert engine.life.state == "ready", engine.life.failure
    try:
        yield engine, predictor, pool
    finally:
        await engine.stop()


@pytest.fixture
def ask(tmp_path):
    """Writes a clip and asks the engine about it."""
    count = iter(range(1000))

    async def call(engine, body=clip(), *, timeout_s=10.0, **options):  # noqa: B008
        path = tmp_path / f"{next(count)}"
        path.write_bytes(body)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        return await engine.predict(path, PredictOptions(**options), deadline_s=deadline_s)

    return call


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


def test_a_long_clip_is_encoded_in_bounded_batches_in_order(ask):
    async def main():
        async with started(max_batch_windows=5) as (engine, predictor, pool):
            decode = pool.decode

            def ramp(*args, **options):
                made = decode(*args, **options)
                made.frames[:] = np.arange(len(made.frames), dtype=np.uint8)[:, None, None, None]
                return made

            pool.decode = ramp
            outcome = await ask(engine, clip(frames=16 * 12 + 16))
            assert max(predictor.encoder.batches) <= 5
        levels = outcome.track.features[:, 0]
        assert torch.equal(levels, 15.5 + 16 * torch.arange(len(levels)))

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


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"reject damaged", VideoRejected), (b"die", DecoderDied), (b"timeout 0.01", DecodeTimeout)],
)
def test_a_bad_clip_fails_alone_and_the_next_one_is_answered(ask, body, error):
    async def main():
        async with started() as (engine, _, _):
            with pytest.raises(error):
                await ask(engine, body, timeout_s=100)
            assert (await ask(engine)).prediction.segments

    asyncio.run(main())


def test_a_worker_killed_for_its_neighbours_sins_costs_no_answer(ask):
    async def main():
        async with started() as (engine, _, pool):
            assert (await ask(engine, b"die-once")).prediction.segments
            assert pool.deaths == 1
            with pytest.raises(DecoderDied):
                await ask(engine, b"die")
            assert pool.deaths == 3

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


def test_stages_are_timed_apart(ask):
    async def main():
        async with started() as (engine, _, _):
            times = (await ask(engine, b"slow 0.05")).times
        assert 0.05 <= times.decode_s < 1
        assert min(times.queue_s, times.features_s, times.reason_s) >= 0
        assert times.queue_s < 0.05

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


class Bundles:
    """What `load` finds: the newest of several predictors, or an error."""

    def __init__(self):
        self.newest = FakePredictor()

    def __call__(self):
        if isinstance(self.newest, Exception):
            raise self.newest
        return self.newest


@asynccontextmanager
async def reloadable():
    bundles, pool = Bundles(), FakePool()
    engine = Engine(make_settings(), load=bundles, pool=pool)
    await engine.start()
    try:
        yield engine, bundles, pool
    finally:
        await engine.stop()


def named(version):
    predictor = FakePredictor()
    predictor.version = version
    return predictor


def test_a_reload_switches_between_batches_and_old_requests_finish_on_the_old_model(ask):
    async def main():
        async with reloadable() as (engine, bundles, pool):
            old, new = bundles.newest, named("2")
            gate = threading.Event()
            pool.hold = lambda: gate.wait(5)
            begun = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 0)
            bundles.newest = new
            await engine.reload()
            assert new.batches == [1]  # the canary went through it first
            late = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 1)
            gate.set()
            assert (await begun).predictor is old
            assert (await late).predictor is new
            assert engine.checks["reload"] == "ok"

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["load", "canary"])
def test_a_bundle_that_fails_is_not_served(ask, broken, caplog):
    async def main():
        async with reloadable() as (engine, bundles, _):
            old, bad = bundles.newest, named("2")

            def fail():
                raise RuntimeError("no such luck in /secret")

            bad.before_predict = fail
            bundles.newest = OSError("no such luck in /secret") if broken == "load" else bad
            await engine.reload()
            assert engine.checks["reload"] == "failed"
            assert "no such luck" in caplog.text
            assert (await ask(engine)).predictor is old
            engine.life.require_ready()

    asyncio.run(main())


def test_a_bundle_that_cannot_be_asked_for_is_not_reloaded_from_a_cache(ask, caplog):
    def latest_sha256():
        raise RemoteFailed("s3://bucket/bundle/manifest.json: nobody answers")

    async def main():
        bundles = Bundles()
        engine = Engine(make_settings(), load=bundles, pool=FakePool(), latest_sha256=latest_sha256)
        await engine.start()
        try:
            old, bundles.newest = bundles.newest, named("2")
            await engine.reload()
            assert engine.checks["reload"] == "failed"
            assert "nobody answers" in caplog.text
            assert (await ask(engine)).predictor is old
        finally:
            await engine.stop()

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


def test_windows_of_a_clip_that_failed_are_not_encoded(ask):
    async def main():
        async with started(max_batch_windows=1) as (engine, predictor, _):
            encode, sizes = predictor.encoder.encode, []

            def fail(windows):
                sizes.append(len(windows))
                raise RuntimeError("poison")

            predictor.encoder.encode = fail
            with pytest.raises(RuntimeError, match="poison"):
                await ask(engine, clip(240))
            predictor.encoder.encode = encode
            assert (await ask(engine)).prediction.segments
            assert len(sizes) <= 2

    asyncio.run(main())
