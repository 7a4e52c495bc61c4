"""An engine with the shipped bundle, and long videos put to it."""

from contextlib import asynccontextmanager
from pathlib import Path

from server.engine.engine import Engine
from server.engine.request import no_progress
from server.schemas.options import PredictOptions
from tests.server.fakes import make_settings

SAMPLE = Path(__file__).parents[3] / "clients" / "sample" / "clip.mp4"


@asynccontextmanager
async def started(**values):
    engine = Engine.from_settings(make_settings(decode_workers=1, **values))
    await engine.start()
    assert engine.life.failure is None
    try:
        yield engine
    finally:
        await engine.stop()


async def long(engine, options=None, path=SAMPLE, timeout_s=100.0, on_progress=no_progress):
    options = options or PredictOptions()
    return await engine.long_video.predict(
        path, options, timeout_s=timeout_s, on_progress=on_progress
    )
