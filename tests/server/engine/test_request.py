import asyncio

import pytest

from model.errors import SegmentInvalid, UnknownTask
from server.errors import FieldInvalid
from tests.server.engine.conftest import started
from tests.server.support.fakes import clip


def test_unknown_tasks_and_too_many_segments_are_refused_before_decoding(ask):
    async def main():
        async with started(max_segments=1) as (engine, _, pool):
            with pytest.raises(UnknownTask, match="ar, lta, oscc, pnr"):
                await ask(engine, tasks=["ar", "dance"])
            with pytest.raises(FieldInvalid, match="at most 1"):
                await ask(engine, segments=[(0, 1), (1, 2)])
            assert pool.decoded == 0

    asyncio.run(main())


def test_a_segment_outside_the_clip_is_refused_by_its_place(ask):
    async def main():
        async with started() as (engine, _, _):
            with pytest.raises(SegmentInvalid) as caught:
                await ask(engine, clip(frames=60), segments=[(0, 2), (1, 9)])
            assert caught.value.index == 1

    asyncio.run(main())
