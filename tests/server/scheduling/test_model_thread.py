import asyncio
import os
import sys
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch

from extract.contract import FeatureContract
from extract.encoders.torch_encoder import TorchEncoder
from extract.windows import clip_windows, placed_windows, stack_windows
from server.errors import NotReady
from server.scheduling import model_thread
from server.scheduling.batcher import Priority
from server.scheduling.model_thread import NICENESS, ModelThread, start_fetch
from tests.extract.conftest import TINY_SWIN
from tests.server.support.fakes import FakePredictor, lose_the_device, make_settings

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
    frames = np.full((32, size, size, 3), level, np.uint8)
    return placed_windows(frames, np.tile(np.arange(32), (count, 1)))


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


def test_frames_that_windows_share_are_prepared_once_and_change_no_feature():
    contract = FeatureContract(
        window_frames=8, stride_frames=4, short_side=48, crop_height=48, crop_width=64
    )
    draw = np.random.default_rng(0)
    clips = [draw.uniform(0, 255, (n, 48, 64, 3)).astype(np.float32) for n in (21, 13)]
    encoder, prepared = TorchEncoder("tiny", TINY_SWIN, contract), []
    to_pixels = encoder.to_pixels
    encoder.to_pixels = lambda frames: prepared.append(len(frames)) or to_pixels(frames)

    async def main():
        predictor = FakePredictor()
        predictor.encoder = encoder
        async with loaded(predictor, decoding=lambda: 1, max_wait_ms=20) as model:
            cut = [clip_windows(clip, contract) for clip in clips]
            futures = [model.enqueue_windows(predictor, w, deadline_s=FOREVER_S)[0] for w in cut]
            return torch.cat([one.value for one in await asyncio.gather(*futures)])

    stacked = np.concatenate([stack_windows(clip, contract) for clip in clips])
    assert torch.equal(asyncio.run(main()), encoder.encode(torch.from_numpy(stacked)))
    assert prepared == [21 + 13]


def test_rows_on_a_device_are_fetched_while_the_thread_goes_on(monkeypatch):
    """A device is stood in for: rows arrive when the wait for them is over."""
    waited, told = [], []

    def start(rows):
        return rows, lambda: waited.append(threading.current_thread().name)

    monkeypatch.setattr(model_thread, "start_fetch", start)

    async def main():
        predictor = FakePredictor()
        async with loaded(predictor) as model:
            model._on_device_error = lambda: told.append(1)
            (future,) = model.enqueue_windows(predictor, windows(2, 7), deadline_s=FOREVER_S)
            assert (await future).value[:, 0].tolist() == [7, 7]
            monkeypatch.setattr(model_thread, "start_fetch", lambda rows: (rows, lose_the_device))
            (future,) = model.enqueue_windows(predictor, windows(1, 7), deadline_s=FOREVER_S)
            with pytest.raises(torch.AcceleratorError):
                await future
        assert len(waited) == 1
        assert not waited[0].startswith("model")
        assert told == [1]

    asyncio.run(main())


def test_rows_of_a_gpu_are_copied_without_a_wait(monkeypatch):
    done = []

    class Event:
        def record(self, stream):
            done.append(("recorded", stream))

        def synchronize(self):
            done.append("waited")

    class OnGpu:
        is_cuda, device = True, "cuda:0"

        def to(self, device, *, non_blocking):
            done.append((device, non_blocking))
            return "copy"

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    copy, wait = start_fetch(OnGpu())
    assert copy == "copy"
    assert done == [("cpu", True), ("recorded", "stream of cuda:0")]
    wait()
    assert done[-1] == "waited"
    rows = torch.ones(2, 3)
    assert start_fetch(rows) == (rows, None)
