import asyncio

import pytest

from server.schemas.options import PredictOptions
from tests.server.fakes import clip


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
