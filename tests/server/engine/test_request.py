import asyncio

import pytest

from extract.features.track import EncoderId
from model.errors import SegmentInvalid, UnknownTask
from model.predict.predictor import Predictor
from server.engine.request import predict_request
from server.errors import FieldInvalid
from server.schemas.options import PredictOptions
from tests.server.engine.conftest import started
from tests.server.support.fakes import clip
from tests.support.factories import make_bundle, make_track


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


@pytest.mark.parametrize(
    ("wanted", "has_evidence"),
    [(None, True), ([], False), (["scores"], False), (["evidence"], True)],
)
def test_evidence_is_made_for_those_alone_who_want_it(wanted, has_evidence):
    predictor = Predictor(make_bundle())
    track = make_track(encoder=EncoderId("tiny", predictor.encoder.fingerprint))
    options = PredictOptions(return_=wanted)
    assert predict_request(predictor, track, options).has_evidence is has_evidence
