import pytest

from clients.errors import ServerFault
from clients.results.predictions import PredictionResult


def test_unknown_keys_are_ignored_everywhere(answer):
    expected = PredictionResult.from_dict(answer)
    answer["later"] = 1
    answer["segments"][0]["later"] = {"x": [1]}
    answer["timings"]["later_ms"] = 2.0
    assert PredictionResult.from_dict(answer) == expected


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
