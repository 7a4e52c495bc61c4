import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.contract import OMNIVORE, TABLETOP
from extract.windows import wanted_frames
from server.engine.decode_stage import DecodeStage
from server.engine.feature_stage import FeatureStage
from server.scheduling.admission import ActiveClip
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ClipOptions
from server.telemetry.telemetry import Telemetry
from tests.server.engine.conftest import started
from tests.server.support.fakes import FakePredictor, clip, make_clip, make_settings
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


class FramesOf:
    """A pool that decodes clips of 100 and 65 frames, both before either is handed over."""

    def __init__(self, contract):
        self.contract, self.lengths = contract, {"a": 100, "b": 65}
        self.barrier = threading.Barrier(2)

    def decode(self, path, *_, **__):
        made = make_clip(self.lengths[path.name], 0)
        count = int(wanted_frames(made.num_frames, self.contract).sum())
        frames = np.zeros((count, *self.contract.frame_shape), self.contract.frame_dtype)
        self.barrier.wait(PATIENCE_S)
        return replace(made, frames=frames)


@pytest.mark.parametrize(
    ("contract", "pixels"), [(TABLETOP, 1), (OMNIVORE, 4)], ids=["own", "float"]
)
def test_a_frame_is_handed_over_once_whatever_windows_and_requests_share(
    monkeypatch, contract, pixels
):
    """Bytes for the model's thread: at most 1.1 times those of uint8 pixels that frames consist of.

    A value that is interpolated in floats, as Omnivore's are, is made of four pixels, so it weighs
    as much as they do.
    """
    batches = []

    def encode(_, parts):
        batches.append([windows for _, windows in parts])
        return [torch.zeros(len(windows), 4) for _, windows in parts]

    monkeypatch.setattr(ModelThread, "_encode", encode)
    predictor = FakePredictor()
    predictor.encoder.contract = contract

    async def main():
        telemetry, settings = Telemetry(), make_settings(max_wait_ms=1000)
        decode = DecodeStage(FramesOf(contract), 2, telemetry.metrics)
        model = ModelThread(settings, lambda: predictor, lambda: stage.decoding)
        stage = FeatureStage(decode, model, telemetry, 2)
        await model.load()
        try:
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    work = ActiveClip()
                    group.create_task(
                        stage.extract(
                            Path(name), ClipOptions(), predictor, work=work, deadline_s=1e9
                        )
                    )
        finally:
            await model.stop()
            decode._threads.shutdown()

    asyncio.run(main())
    (parts,) = batches
    assert sorted(map(len, parts)) == [4, 6]
    frames = sum(int(wanted_frames(n, contract).sum()) for n in (100, 65))
    assert bytes_of(parts) <= 1.1 * frames * pixels * np.prod(contract.frame_shape)


def bytes_of(parts):
    """Bytes of all frames' memory, each once, and of the windows' references to them."""
    held = [frame for windows in parts for window in windows for _, frame in window]
    owners = {id(owner): owner for owner in (f if f.base is None else f.base for f in held)}
    return sum(owner.nbytes for owner in owners.values()) + 8 * len(held)
