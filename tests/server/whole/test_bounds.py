"""Numbers that callers declare and texts that they send cost no more than they deserve."""

import json

import pytest

from server.errors import MAX_ERRORS
from tests.server.api.oip.protocol import INFER, LENGTH, features
from tests.server.support.fakes import clip
from tests.server.support.probe import NOISE, pieces, probing

MIB = 2**20


def wrong_parameters(size):
    one = b'"%07d":[],'
    pairs = b"".join(one % n for n in range(size // len(one % 0)))
    return b'{"inputs":[],"parameters":{' + pairs[:-1] + b"}}"


def lists(size):
    data = b",".join([b"[]"] * (size // 3))
    return (
        b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[' + data + b"]}]}"
    )


def shapes(size):
    shape = b",".join([b'"x"'] * (size // 4))
    return b'{"inputs":[{"name":"features","datatype":"FP32","shape":[' + shape + b"]}]}"


HOSTILE_INFERENCES = {
    "wrong-parameters": wrong_parameters(4 * MIB),
    "lists-in-a-list": lists(15 * MIB),
    "sizes-in-a-shape": shapes(256 * 1024),
    "numbers": b"[" + b"1," * (7 * MIB) + b"1]",
    "a-number": b'{"inputs":' + b"9" * 15 * MIB + b"}",
    "depth": b"[" * (15 * MIB),
}


@pytest.mark.slow(2)
@pytest.mark.parametrize("body", HOSTILE_INFERENCES.values(), ids=HOSTILE_INFERENCES)
def test_json_made_to_be_costly_costs_little_and_gets_a_short_answer(served, body):
    with probing(served.transport) as reading:
        answer = served.http.post(INFER, content=pieces(body))
    assert answer.status_code in (400, 422), answer.text[:300]
    assert len(answer.content) < 20_000
    assert reading.is_smooth, reading
    assert reading.grown_bytes <= 2 * len(body) + NOISE, reading


HOSTILE_OPTIONS = {
    "segments": b'{"segments":[' + b",".join([b"[]"] * 20_000) + b"]}",
    "tasks": b'{"tasks":[' + b",".join([b"1"] * 30_000) + b"]}",
    "return": b'{"return":[' + b",".join([b"1"] * 30_000) + b"]}",
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(6000)) + b"}",
    "few-members": b"{" + b",".join(b'"%d%s":1' % (n, b"x" * 2000) for n in range(29)) + b"}",
    "depth": b'{"tasks":' + b"[" * 100 + b"]" * 100 + b"}",
}


@pytest.mark.slow(1)
@pytest.mark.parametrize("part", HOSTILE_OPTIONS.values(), ids=HOSTILE_OPTIONS)
def test_options_made_to_be_costly_cost_little_and_get_a_short_answer(served, part):
    for kind in ("video", "jobs", "search"):
        with probing(served.transport) as reading:
            if kind == "search":
                headers = {"content-type": "application/json"}
                answer = served.http.post("/v1/backpack/search", content=part, headers=headers)
            else:
                headers = {"prefer": "respond-async"} if kind == "jobs" else {}
                files = {"video": ("v", clip()), "request": (None, part, "application/json")}
                answer = served.http.post("/v1/predictions", files=files, headers=headers)
        assert answer.status_code == 422, answer.text[:300]
        assert len(answer.json()["errors"]) <= MAX_ERRORS
        assert len(answer.content) < 20_000
        assert reading.is_smooth, reading


def test_frames_that_are_declared_are_counted_not_made(served):
    body = {"inputs": [features(1)], "parameters": {"num_frames": 2**31 - 1}}
    with probing(served.transport) as reading:
        answer = served.http.post(INFER, json=body)
    assert answer.status_code == 422
    assert "134217727 windows" in answer.text
    assert reading.is_smooth, reading
    assert reading.grown_bytes < NOISE


def test_a_shape_is_checked_before_the_bytes_are_read(served):
    data = bytes(64 * MIB)
    sized = {"parameters": {"binary_data_size": len(data)}}
    head = {"name": "features", "shape": [len(data) // 16, 4], "datatype": "FP32", **sized}
    text = json.dumps({"inputs": [head]}).encode()
    body = text + data
    with probing(served.transport) as reading:
        answer = served.http.post(INFER, content=pieces(body), headers={LENGTH: str(len(text))})
    assert answer.status_code == 422
    assert "limit is 64 s" in answer.text
    assert reading.grown_bytes < len(data) / 2, reading


DIGITS = ["9" * 19, "9" * 400, "9" * 4300, "9" * 5000, "-" + "9" * 4300, "1e999", "1" + "0" * 400]
NUMBERS = [
    '{"top_k": N}',
    '{"seed": N}',
    '{"segment_s": N}',
    '{"segments": [[0, N]]}',
    '{"timeout_s": N}',
    '{"video_track": N}',
]
TENSOR = '{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}'
INFERENCES = [
    f'{{"inputs": [{TENSOR}], "parameters": {{"{name}": N}}}}'
    for name in ("num_frames", "segment_s", "seed", "timeout", "video_track", "binary_data_output")
] + [
    f'{{"inputs": [{TENSOR.replace("[1, 4]", "[N, 4]")}]}}',
    f'{{"inputs": [{TENSOR.replace("[1, 2", "[N, 2")}]}}',
    f'{{"inputs": [{TENSOR[:-1]}, "parameters": {{"binary_data_size": N}}}}]}}',
    f'{{"inputs": [{TENSOR}], "outputs": [{{"name": "x", "parameters": {{"binary_data": N}}}}]}}',
]


@pytest.mark.parametrize("digits", DIGITS, ids=lambda text: f"{text[:2]}x{len(text)}")
def test_no_number_of_any_length_is_the_servers_fault(served, digits):
    for text in NUMBERS:
        part = text.replace("N", digits)
        files = {"video": ("v", clip()), "request": (None, part, "application/json")}
        for headers in ({}, {"prefer": "respond-async"}):
            answer = served.http.post("/v1/predictions", files=files, headers=headers)
            assert answer.status_code < 500, (text, answer.text[:300])
    for text in INFERENCES:
        answer = served.http.post(INFER, content=text.replace("N", digits))
        assert answer.status_code < 500, (text, answer.text[:300])
    for name in ("top_k", "seed", "segment_s", "segments", "timeout_s", "video_track"):
        answer = served.post(clip(), **{name: f"0,{digits}" if name == "segments" else digits})
        assert answer.status_code < 500, (name, answer.text[:300])
    for path in (f"/v1/jobs?limit={digits}", f"/v1/jobs?cursor={digits}", f"/v1/jobs/{digits}"):
        assert served.http.get(path).status_code in (200, 404, 422)
    headers = {
        name: form.replace("N", digits)
        for name, form in {
            LENGTH: "N",
            "content-length": "N",
            "prefer": "respond-async, wait=N",
            "last-event-id": "N",
            "range": "bytes=N-N",
            "accept": "application/json;q=N",
            "content-range": "bytes N-N/N",
        }.items()
    }
    for name, value in headers.items():
        for method, path in (
            ("POST", INFER),
            ("POST", "/v1/predictions"),
            ("GET", f"/v1/jobs/{'0' * 32}/events"),
            ("GET", "/ui/page.js"),
        ):
            asked = {"content-type": "video/mp4", name: value}
            answer = served.http.request(method, path, headers=asked, content=clip())
            assert answer.status_code < 500, (name, method, path, answer.text[:300])
