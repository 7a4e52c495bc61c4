import asyncio

import pytest

from extract.errors import DecoderDied, DecodeTimeout, VideoRejected
from server.engine.decode_stage import limits_of
from tests.server.engine.conftest import started
from tests.server.support.fakes import make_settings


def test_the_memory_of_decoded_frames_is_a_setting():
    assert limits_of(make_settings()).max_output_mb == 512
    assert limits_of(make_settings(decode_output_mb=7)).max_output_mb == 7


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
