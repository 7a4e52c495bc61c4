import asyncio

import pytest

from extract.errors import DecoderDied, DecodeTimeout, VideoRejected
from tests.server.engine.conftest import started


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


def test_a_clip_is_retried_once_after_a_decoder_crash(ask):
    async def main():
        async with started() as (engine, _, pool):
            assert (await ask(engine, b"die-once")).prediction.segments
            assert pool.deaths == 1
            with pytest.raises(DecoderDied):
                await ask(engine, b"die")
            assert pool.deaths == 3

    asyncio.run(main())
