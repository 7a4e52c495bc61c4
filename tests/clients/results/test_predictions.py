import dataclasses
import json

import pytest

from clients.errors import ServerFault
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


def test_unknown_keys_are_ignored_everywhere(answer):
    expected = PredictionResult.from_dict(answer)
    answer["later"] = 1
    answer["segments"][0]["later"] = {"x": [1]}
    answer["timings"]["later_ms"] = 2.0
    assert PredictionResult.from_dict(answer) == expected


def test_absent_parts_are_none(answer):
    del answer["lta"], answer["segments"][0]["pnr"], answer["segments"][0]["evidence"]
    result = PredictionResult.from_dict(answer)
    assert result.lta is None
    assert result.segments[0].pnr is None
    assert result.segments[0].evidence is None


def test_whole_numbers_are_accepted_as_seconds(answer):
    answer["segments"][0]["start_s"] = 0
    start_s = PredictionResult.from_dict(answer).segments[0].start_s
    assert isinstance(start_s, float)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("segments",), "none"),
        (("segments", 0), None),
        (("segments", 0, "start_s"), "0"),
        (("segments", 0, "oscc", "state_change"), 1),
        (("segments", 0, "pnr", "frame"), True),
        (("model",), []),
        (("lta", "hypotheses"), [["put knife"]]),
    ],
)
def test_a_wrong_shape_is_the_servers_fault(answer, path, value):
    target = answer
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(ServerFault):
        PredictionResult.from_dict(answer)


@pytest.mark.parametrize("key", ["id", "model", "segments", "timings"])
def test_a_missing_key_is_the_servers_fault(answer, key):
    del answer[key]
    with pytest.raises(ServerFault):
        PredictionResult.from_dict(answer)
