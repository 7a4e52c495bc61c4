import json
import socket

import pytest

from clients.label_studio import backend as module
from clients.label_studio.backend import MAX_BODY_BYTES, MAX_DEPTH, is_deeper
from tests.clients.label_studio.studio import CONFIG, ask, backend, kept
from tests.support.waiting import PATIENCE_S, wait_for


def test_each_task_gets_a_prediction_that_its_interface_can_show(answer):
    with backend(answer, kept) as http:
        body = ask(http, "/data/upload/1.mp4", "http://studio:8080/data/upload/1.mp4").json()
    one, other = body["results"]
    assert one == other
    assert one["model_version"].startswith("tabletop 1")
    labels = [region["value"]["timelinelabels"][0] for region in one["result"]]
    assert labels == ["cut carrot", "point of no return"]  # `state change` is not offered
    assert {(r["from_name"], r["to_name"]) for r in one["result"]} == {("what", "film")}
    assert 0 < one["score"] <= 1


def test_a_task_that_cannot_be_answered_does_not_take_the_others_with_it(answer):
    with backend(answer, kept) as http:
        response = ask(
            http,
            "/data/upload/1.mp4",
            "/data/upload/2.mp4",
            "/none.mp4",
            "http://169.254.169.254/latest/meta-data",
            "//elsewhere/x.mp4",
            "file:///etc/passwd",
        )
    assert response.status_code == 200
    counts = [len(one["result"]) for one in response.json()["results"]]
    assert counts == [2, 0, 0, 0, 0, 0]


def test_the_other_questions_are_answered(answer):
    with backend(answer, kept) as http:
        assert http.get("/health").json()["status"] == "UP"
        assert http.get("/").status_code == 200
        assert http.get("/versions").json() == {"versions": ["m 1 aaaaaaaaaaaa"]}
        assert http.post("/setup", json={"schema": CONFIG}).json() == {
            "model_version": "m 1 aaaaaaaaaaaa"
        }
        assert http.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
        assert http.post("/elsewhere", json={}).status_code == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"tasks": 3}'])
def test_a_body_that_is_no_question_is_refused(answer, body):
    with backend(answer, kept) as http:
        assert http.post("/predict", content=body).status_code == 400
        assert http.post("/predict", content=iter([body])).status_code == 413  # of unknown length


def nested(levels):
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    "body",
    [nested(MAX_DEPTH + 1), nested(100_000), b'{"a":' + b"[" * 100_000, b'{"tasks":' + b"[[]," * 9],
    ids=["a level too many", "far too many", "unclosed", "not JSON"],
)
def test_a_body_is_read_only_so_deep(answer, body):
    with backend(answer, kept) as http:
        assert http.post("/predict", content=body).status_code == 400
        assert http.get("/versions").status_code == 200


def test_depth_is_counted_in_levels():
    for levels in (1, 2, MAX_DEPTH):
        assert not is_deeper(json.loads(nested(levels)), MAX_DEPTH)
    assert is_deeper(json.loads(nested(MAX_DEPTH + 1)), MAX_DEPTH)
    assert not is_deeper({"wide": [[]] * 1000}, 3)


@pytest.mark.parametrize("size", [str(MAX_BODY_BYTES + 1), "9" * 5000, "-1", "1e3"])
def test_a_body_is_read_only_so_far(answer, size):
    with backend(answer, kept) as http, connect(http) as large:
        large.sendall(f"POST /predict HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
        assert large.recv(100).startswith(b"HTTP/1.1 413 ")


def connect(http):
    return socket.create_connection((http.base_url.host, http.base_url.port), timeout=PATIENCE_S)


def test_connections_are_counted_and_given_back(answer, monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    with backend(answer, kept) as http:
        held = [connect(http) for _ in range(3)]
        wait_for(lambda: all_held(http))
        for one in held:
            one.close()
        wait_for(lambda: http.get("/versions").status_code == 200)


def all_held(http):
    """Whether a further connection is turned away, without a thread."""
    with connect(http) as more:
        more.sendall(b"GET /versions HTTP/1.1\r\n\r\n")
        try:
            return more.recv(100).startswith(b"HTTP/1.1 503 ")
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    "part", [b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_whoever_takes_too_long_to_ask_is_cut_off(answer, monkeypatch, part):
    monkeypatch.setattr(module, "REQUEST_S", 0.1)
    monkeypatch.setattr(module._Handler, "timeout", PATIENCE_S)  # cut off, not timed out
    with backend(answer, kept) as http, connect(http) as slow:
        slow.sendall(part)
        assert slow.recv(1000) == b""
