"""An engine with fakes that is started, and stopped in the end."""

from contextlib import asynccontextmanager

from tests.server.fakes import FakePool, FakePredictor, make_engine, make_settings


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
