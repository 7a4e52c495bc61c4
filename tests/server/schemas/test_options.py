import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from server.errors import FieldInvalid, MalformedRequest
from server.schemas.options import (
    PredictOptions,
    PredictParameters,
    from_query,
    parse_options,
    pointer,
)

seconds = st.floats(0, 1e6, allow_nan=False)
choices = st.fixed_dictionaries(
    {},
    optional={
        "tasks": st.lists(st.sampled_from(["ar", "lta", "oscc", "pnr"]), min_size=1, max_size=4),
        "segments": st.lists(st.tuples(seconds, seconds), min_size=1, max_size=5),
        "top_k": st.integers(1, 100),
        "segment_s": st.floats(0.5, 3600),
        "seed": st.integers(0, 2**31 - 1),
        "return": st.lists(st.sampled_from(["evidence", "scores"]), max_size=2),
        "timeout_s": st.floats(0.001, 1e6),
    },
)


@given(choices)
def test_query_and_json_part_mean_the_same(values):
    query = dict(values)
    if "segments" in query:
        query["segments"] = [f"{a!r},{b!r}" for a, b in query["segments"]]
    assert from_query(PredictParameters.model_validate(query), PredictOptions) == parse_options(
        json.dumps(values).encode(), PredictOptions
    )


def test_commas_separate_names_in_a_query():
    query = PredictParameters.model_validate({"tasks": ["ar,lta", "pnr"], "return": ["scores"]})
    assert from_query(query, PredictOptions) == PredictOptions(
        tasks=["ar", "lta", "pnr"], return_=["scores"]
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'{"task": ["ar"]}', "/task"),
        (b'{"top_k": 0}', "/top_k"),
        (b'{"top_k": "many"}', "/top_k"),
        (b'{"segments": []}', "/segments"),
        (b'{"segments": [[0, 8], [1]]}', "/segments/1/1"),
        (b'{"segments": [[-1, 8]]}', "/segments/0/0"),
        (b'{"segments": [[0, 1e999]]}', "/segments/0/1"),
        (b'{"return": ["everything"]}', "/return/0"),
        (b'{"seed": -1}', "/seed"),
        (b'{"timeout_s": 0}', "/timeout_s"),
        (b'{"a/b~c": 1}', "/a~1b~0c"),
        (b"[]", ""),
    ],
)
def test_a_wrong_field_is_pointed_at(text, where):
    with pytest.raises(FieldInvalid) as caught:
        parse_options(text, PredictOptions)
    assert [at for at, _ in caught.value.errors] == [where]


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"tasks=ar"])
def test_what_is_not_json_is_malformed(text):
    with pytest.raises(MalformedRequest):
        parse_options(text, PredictOptions)


@pytest.mark.parametrize("segment", ["0", "0,8,9", "a,b", ""])
def test_a_segment_in_a_query_is_two_numbers(segment):
    with pytest.raises(FieldInvalid) as caught:
        from_query(PredictParameters(segments=[segment]), PredictOptions)
    assert caught.value.errors[0][0].startswith("/segments/0")


def test_unknown_query_parameters_are_refused():
    with pytest.raises(ValidationError):
        PredictParameters.model_validate({"taks": ["ar"]})


def test_every_part_is_wanted_unless_some_are_named():
    assert PredictOptions().wants("evidence")
    assert PredictOptions(return_=["scores"]).wants("scores")
    assert not PredictOptions(return_=["scores"]).wants("evidence")
    assert not PredictOptions(return_=[]).wants("scores")


@given(st.lists(st.text(max_size=5) | st.integers(), max_size=4))
def test_pointers_can_be_taken_apart_again(path):
    steps = pointer(*path).split("/")[1:]
    assert [s.replace("~1", "/").replace("~0", "~") for s in steps] == [str(p) for p in path]
