import errno
import json

import numpy as np
import pytest

from tests.server.api.oip.protocol import (
    INFER,
    LENGTH,
    arrays,
    assert_failure,
    features,
    infer,
    video,
)
from tests.server.support.fakes import clip


def infer_binary(served, head, *after, length=None):
    text = json.dumps(head).encode()
    headers = {LENGTH: str(len(text) if length is None else length)}
    return served.http.post(INFER, content=text + b"".join(after), headers=headers)


def assert_same(one, other):
    assert set(one) == set(other)
    for name, values in one.items():
        assert values.tolist() == other[name].tolist(), name


def test_a_clip_and_its_features_as_json_and_as_binary_say_the_same(served):
    body, matrix = clip(240, 51), np.full((14, 4), 51, "<f4")
    as_json = arrays(infer(served, video(body)))
    assert_same(as_json, arrays(infer(served, features())))
    flat = features(data=[51.0] * 56)
    assert_same(as_json, arrays(infer(served, flat)))
    sized = {"parameters": {"binary_data_size": 4 + len(body)}}
    head = {"inputs": [{"name": "video", "shape": [1], "datatype": "BYTES", **sized}]}
    size = len(body).to_bytes(4, "little")
    assert_same(as_json, arrays(infer_binary(served, head, size, body)))
    sized = {"parameters": {"binary_data_size": matrix.nbytes}}
    head = {"inputs": [{"name": "features", "shape": [14, 4], "datatype": "FP32", **sized}]}
    head["parameters"] = {"binary_data_output": True}
    answer = infer_binary(served, head, matrix.tobytes())
    assert answer.headers["content-type"] == "application/octet-stream"
    assert_same(as_json, arrays(answer))
    assert served.spooled() == []


VIDEO_HEAD = {
    "inputs": [
        {
            "name": "video",
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": 10},
        }
    ]
}


@pytest.mark.parametrize(
    ("after", "length", "status", "word"),
    [
        (b"\x06\0\0\0clip 6", 10**9, 413, "JSON is larger"),
        (b"\x06\0\0\0clip 6", 10**6, 400, "body ends"),
        (b"\x06\0\0\0clip 6", "x", 400, "number"),
        (b"\x06\0\0\0clip 6", 3, 400, "valid JSON"),
        (b"\x06\0\0\0clip 6x", None, 422, "11 bytes came"),
        (b"\x06\0\0", None, 422, "3 bytes came"),
        (b"\x07\0\0\0clip 6", None, 422, "length"),
        (b"", None, 422, "0 bytes came"),
    ],
)
def test_binary_data_of_another_size_than_said_is_refused(served, after, length, status, word):
    assert_failure(infer_binary(served, VIDEO_HEAD, after, length=length), status, word)
    assert served.spooled() == []


def test_bytes_that_no_tensor_asked_for_are_refused(served):
    assert_failure(infer_binary(served, {"inputs": [features()]}, b"abcdef"), 422, "6 bytes")


def test_a_clip_in_json_on_a_full_disk_is_asked_for_again(served, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/clip")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    refused = infer(served, video())
    assert_failure(refused, 503, "full")
    assert int(refused.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert infer(served, video()).status_code == 200
