import asyncio
import threading

import numpy as np
import pytest
import torch

from tests.server.engine.conftest import started
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S


def test_clips_asked_together_share_batches_and_get_their_own_answers(ask):
    async def main():
        async with started(decode_workers=4, max_wait_ms=200) as (engine, predictor, pool):
            alone = [await ask(engine, clip(100 + n, 20 * n)) for n in range(4)]
            barrier = threading.Barrier(4)
            pool.hold = lambda: barrier.wait(PATIENCE_S)
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


def test_stages_are_timed_apart(ask):
    async def main():
        async with started() as (engine, _, _):
            times = (await ask(engine, b"slow 0.05")).times
        assert 0.05 <= times.decode_s < 1
        assert min(times.queue_s, times.features_s, times.reason_s) >= 0
        assert times.queue_s < 0.05

    asyncio.run(main())
