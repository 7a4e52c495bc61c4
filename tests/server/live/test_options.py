import json

import pytest

from server.errors import FieldInvalid, MalformedRequest
from server.live.options import LiveOptions, LiveResume, parse_object, parse_opening


def test_every_option_has_a_default():
    assert parse_opening("{}") == LiveOptions()
    options = LiveOptions()
    assert (options.segment_s, options.every, options.forecast_every) == (8.0, 1, 8)
    assert options.summary.return_ == []
    assert LiveOptions(evidence=True).summary.wants("evidence")


def test_a_token_goes_on_with_a_stream():
    assert parse_opening('{"resume": "abc", "after": 7}') == LiveResume(resume="abc", after=7)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"segment_s": 0.1}', "/segment_s"),
        ('{"input": "rtsp"}', "/input"),
        ('{"rate": 0}', "/rate"),
        ('{"rate": 1e999}', "/rate"),
        ('{"every": 0}', "/every"),
        ('{"tasks": []}', "/tasks"),
        ('{"colour": 1}', "/colour"),
        ('{"resume": "abc", "after": -1}', "/after"),
        ('{"resume": "abc", "tasks": ["ar"]}', "/tasks"),
    ],
)
def test_a_wrong_option_is_named(text, pointer):
    with pytest.raises(FieldInvalid) as refused:
        parse_opening(text)
    assert [where for where, _ in refused.value.errors] == [pointer]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 50_000])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(MalformedRequest):
        parse_object(text)


def test_a_text_message_is_short():
    with pytest.raises(FieldInvalid):
        parse_object(json.dumps({"tasks": ["a" * 70_000]}))
