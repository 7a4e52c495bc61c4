import asyncio

import numpy as np
import pytest
import torch

from server.errors import OutOfMemory
from tests.server.engine.fake_engine import started
from tests.server.fakes import clip


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
