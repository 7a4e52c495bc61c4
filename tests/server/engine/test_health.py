import asyncio
from contextlib import asynccontextmanager

import pytest
import torch

from server.engine.health import Lifecycle, Watchdog
from server.errors import Unhealthy
from server.telemetry.metrics import Metrics
from tests.server.support.fakes import FakePredictor, make_engine, make_settings
from tests.support.waiting import PATIENCE_S, wait_until


class Canaries:
    """Counts canaries; does to each what `fate` says."""

    def __init__(self):
        self.sent = 0
        self.fate = lambda: None

    async def __call__(self):
        self.sent += 1
        result = self.fate()
        if isinstance(result, Exception):
            raise result
        if result is not None:
            await asyncio.sleep(result)


@asynccontextmanager
async def watching(monkeypatch, *, every_s=0.05, timeout_s=0.05):
    monkeypatch.setattr("server.engine.health.RETRY_S", 0.01)
    canaries, life = Canaries(), Lifecycle()
    life.start()
    watch = Watchdog(canaries, life=life, metrics=Metrics(), every_s=every_s, timeout_s=timeout_s)
    task = asyncio.create_task(watch.run())
    try:
        yield watch, canaries, life
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_canaries_are_sent_only_while_nobody_else_proves_anything(monkeypatch):
    async def main():
        async with watching(monkeypatch) as (watch, canaries, _):
            for _ in range(20):
                await asyncio.sleep(0.01)
                watch.confirm()
            assert canaries.sent == 0
            await wait_until(lambda: canaries.sent >= 2)

    asyncio.run(main())


@pytest.mark.parametrize("fate", [lambda: RuntimeError("no"), lambda: 60], ids=["fails", "hangs"])
def test_two_that_do_not_come_back_turn_readiness_off_until_one_does(monkeypatch, fate):
    async def main():
        async with watching(monkeypatch) as (_, canaries, life):
            canaries.fate = lambda: fate() if canaries.sent == 1 else None
            await wait_until(lambda: canaries.sent >= 3)
            life.require_ready()  # one may fail
            canaries.fate = fate
            await wait_until(lambda: not life.is_healthy)
            with pytest.raises(Unhealthy):
                life.require_ready()
            canaries.fate = lambda: None
            await wait_until(lambda: life.is_healthy)
            life.require_ready()
            assert life.failure is None

    asyncio.run(main())


def test_trouble_with_the_device_is_looked_into_at_once(monkeypatch):
    async def main():
        async with watching(monkeypatch, every_s=60) as (watch, canaries, _):
            watch.suspect()
            await wait_until(lambda: canaries.sent == 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("an illegal memory access"), torch.OutOfMemoryError("full")]
)
def test_trouble_that_stays_is_the_end(monkeypatch, error):
    async def main():
        async with watching(monkeypatch, every_s=60) as (watch, canaries, life):
            canaries.fate = lambda: error
            watch.suspect()
            await wait_until(lambda: life.state == "broken")
            assert life.failure is error
            assert canaries.sent == 2

    asyncio.run(main())


def test_an_engine_whose_model_hangs_is_not_ready_and_recovers(monkeypatch):
    monkeypatch.setattr("server.engine.health.RETRY_S", 0.01)

    async def main():
        predictor = FakePredictor()
        settings = make_settings(canary_every_s=0.05, canary_timeout_s=0.05)
        engine = make_engine(settings, predictor)
        await engine.start()
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        predictor.before_predict = lambda: asyncio.run_coroutine_threadsafe(
            gate.wait(), loop
        ).result(PATIENCE_S)
        await wait_until(lambda: not engine.life.is_healthy)
        with pytest.raises(Unhealthy), engine.admit():
            raise AssertionError("it does not answer")
        assert engine.checks["canary"] == "missing"
        gate.set()
        await wait_until(lambda: engine.life.is_healthy)
        assert engine.checks == {"state": "ready", "canary": "ok", "reload": "none"}
        await engine.stop()

    asyncio.run(main())
