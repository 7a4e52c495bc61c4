"""Forms as RFC 2046 and 7578 allow them, at every door that takes a form."""

import json

import httpx
import pytest

from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip

BOM = b"\xef\xbb\xbf"
DOORS = {
    "predictions": ("/v1/predictions", {}, 200),
    "jobs": ("/v1/predictions", {"prefer": "respond-async"}, 202),
    "features": ("/v1/features", {}, 200),
    "search": ("/v1/backpack/search", {}, 200),
}


def form(options=b'{"timeout_s": 5}', *, preamble=b"", padding=b"", epilogue=b""):
    def part(name, more, content):
        head = b'Content-Disposition: form-data; name="%s"%s\r\n' % (name, more)
        return b"--b" + padding + b"\r\n" + head + b"\r\n" + content + b"\r\n"

    parts = part(b"request", b"", options) + part(b"video", b';\r\n filename="a.mp4"', clip())
    return preamble + parts + b"--b--" + epilogue


VARIANTS = {
    "plain": form(),
    "preamble": form(preamble=b"This is a message of many parts.\r\n--bb\r\n\r\n"),
    "empty line": form(preamble=b"\r\n"),
    "padding": form(padding=b" \t "),
    "epilogue": form(epilogue=b"\t\r\nGood bye.\r\n--b\r\n"),
    "mark": form(options=BOM + b'{"timeout_s": 5}'),
    "all": form(
        options=BOM + b'{"timeout_s": 5}', preamble=b"x\r\n", padding=b"\t", epilogue=b" \r\n"
    ),
}


def send(served, door, body):
    path, headers, _ = DOORS[door]
    kind = {"content-type": "multipart/form-data; boundary=b"}
    return served.http.post(path, content=body, headers={**kind, **headers})


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_legal_form_is_taken_at_every_door(served, door, variant):
    answer = send(served, door, VARIANTS[variant])
    assert answer.status_code == DOORS[door][2], answer.text
    if door == "jobs":
        assert answer.json()["request"] == {"timeout_s": 5}
        assert answer.json()["input"]["size_bytes"] == len(clip())


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_choices_of_every_legal_form_are_heard(served, door, variant):
    wrong = VARIANTS[variant].replace(b'"timeout_s": 5', b'"timeout_s":-1')
    problem = assert_problem(send(served, door, wrong), 422, "invalid-field")
    assert problem["errors"][0]["pointer"] == "/timeout_s"


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        form().replace(b"\r\n", b"\n"), form()[:-2], b"nothing",
        form(options=BOM), form(options=BOM + BOM + b"{}"), form(options=b"\xff\xfe{\0}\0"),
    ],
    ids=["bare newlines", "no end", "no form", "only a mark", "two marks", "UTF-16"],
)  # fmt: skip
def test_what_is_no_form_or_no_json_is_refused_at_every_door(served, door, body):
    assert_problem(send(served, door, body), 400, "malformed-request")


@pytest.mark.parametrize("door", DOORS)
def test_a_line_that_only_begins_like_a_delimiter_is_none(served, door):
    problem = assert_problem(send(served, door, form(padding=b"x")), 422, "invalid-field")
    assert problem["errors"][0]["pointer"] == "/video"


def test_json_that_is_a_whole_body_may_have_a_mark_too(served):
    action = BOM + json.dumps({"verb": "take", "noun": "cup"}).encode()
    kind = {"content-type": "application/json"}
    assert served.http.post("/v1/backpack/search", content=action, headers=kind).status_code == 200
    sent = httpx.Request("POST", "http://test", json={"inputs": [], "outputs": []}).read()
    refused = [
        served.http.post("/v2/models/fake/infer", content=body, headers=kind).json()
        for body in (sent, BOM + sent)
    ]
    assert refused[0] == refused[1]
