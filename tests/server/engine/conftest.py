"""An engine with fakes, and clips for it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from server.schemas.options import PredictOptions
from tests.server.support.fakes import FakePool, FakePredictor, clip, make_engine, make_settings


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
