import dataclasses
import json

import pytest

from clients.results import predictions as results
from clients.results.predictions import PredictionResult
from server.schemas import prediction as schemas


def plain(value):
    return json.loads(json.dumps(dataclasses.asdict(value)))


def without_none(value):
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return [without_none(v) for v in value] if isinstance(value, list) else value


def test_an_answer_is_kept_whole(answer):
    assert without_none(plain(PredictionResult.from_dict(answer))) == answer


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (results.PredictionResult, schemas.Prediction),
        (results.Input, schemas.InputFacts),
        (results.Features, schemas.FeatureFacts),
        (results.Segment, schemas.Segment),
        (results.Pnr, schemas.Pnr),
        (results.Oscc, schemas.Oscc),
        (results.Lta, schemas.Lta),
        (results.SkillAnswer, schemas.SkillAnswer),
        (results.Forecast, schemas.Forecast),
        (results.Evidence, schemas.Evidence),
        (results.Neighbour, schemas.Neighbour),
        (results.Timings, schemas.Timings),
        (results.Ranked, schemas.RankedLabel),
    ],
)
def test_the_client_knows_every_field_the_server_sends(ours, theirs):
    assert {f.name for f in dataclasses.fields(ours)} == set(theirs.model_fields)


def test_absent_parts_are_none(answer):
    del answer["lta"], answer["segments"][0]["pnr"], answer["segments"][0]["evidence"]
    result = PredictionResult.from_dict(answer)
    assert result.lta is None
    assert result.segments[0].pnr is None
    assert result.segments[0].evidence is None
