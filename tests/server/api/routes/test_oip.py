"""The Open Inference Protocol, as bytes on the wire."""

import base64
import json

import numpy as np
import pytest

from server.api.oip.schemas import InferResponse, ModelMetadata
from tests.server.conftest import assert_problem
from tests.server.fakes import clip

INFER = "/v2/models/fake/infer"
LENGTH = "Inference-Header-Content-Length"


def assert_failure(response, status, *words):
    """Checks what the protocol says of errors."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (message,) = response.json().values()
    assert list(response.json()) == ["error"]
    assert all(word in message for word in words), message
    assert "/tmp" not in message


def video(body=None, **more):
    data = base64.b64encode(clip(240, 51) if body is None else body).decode()
    return {"name": "video", "shape": [1], "datatype": "BYTES", "data": [data]} | more


def features(rows=14, width=4, **more):
    data = [[51.0] * width] * rows
    return {"name": "features", "shape": [rows, width], "datatype": "FP32", "data": data} | more


def infer(served, *inputs, outputs=None, parameters=None, path=INFER, **more):
    body = {"inputs": list(inputs), **more}
    if outputs is not None:
        body["outputs"] = [{"name": o} if isinstance(o, str) else o for o in outputs]
    if parameters is not None:
        body["parameters"] = parameters
    return served.http.post(path, json=body)


def infer_binary(served, head, *after, length=None):
    text = json.dumps(head).encode()
    headers = {LENGTH: str(len(text) if length is None else length)}
    return served.http.post(INFER, content=text + b"".join(after), headers=headers)


def arrays(response):
    """name -> array, of an answer in JSON or with binary tensors after it."""
    assert response.status_code == 200, response.text
    length = response.headers.get(LENGTH)
    text = response.content if length is None else response.content[: int(length)]
    after = memoryview(response.content)[len(text) :]
    answer = InferResponse.model_validate_json(text, strict=True)
    found = {}
    for output in answer.outputs:
        kind = {"FP32": "<f4", "FP64": "<f8", "BYTES": object}[output.datatype]
        if output.parameters is None:
            values = np.array(output.data, kind)
        else:
            size = output.parameters["binary_data_size"]
            mine, after = bytes(after[:size]), after[size:]
            values = strings(mine) if kind is object else np.frombuffer(mine, kind)
        found[output.name] = values.reshape(output.shape)
    assert len(after) == 0
    return found


def strings(data):
    found = []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return np.array(found, object)


def assert_same(one, other):
    assert set(one) == set(other)
    for name, values in one.items():
        assert values.tolist() == other[name].tolist(), name


def test_server_and_model_say_what_they_are(served):
    get = served.http.get
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    metadata = ModelMetadata.model_validate_json(get("/v2/models/fake").text, strict=True)
    assert [(t.name, t.datatype, t.shape) for t in metadata.inputs] == [
        ("features", "FP32", [-1, 4]),
        ("video", "BYTES", [1]),
    ]
    assert get("/v2/models/fake/versions/1").json() == metadata.model_dump()
    for path in ("/v2/models/fake/ready", "/v2/models/fake/versions/1/ready"):
        assert get(path).json() == {"name": "fake", "ready": True}


def test_every_output_promised_is_given_in_its_shape(served):
    promised = served.http.get("/v2/models/fake").json()["outputs"]
    found = arrays(infer(served, video(), parameters={"segment_s": 2}))
    assert set(found) == {tensor["name"] for tensor in promised}
    for tensor in promised:
        shape = tuple(4 if size == -1 else size for size in tensor["shape"])
        assert found[tensor["name"]].shape == shape


def test_tensors_hold_what_the_other_door_says(served):
    found = arrays(infer(served, video(), parameters={"segment_s": 4, "seed": 3}))
    answer = served.post(clip(240, 51), segment_s=4, seed=3, top_k=100).json()
    for index, segment in enumerate(answer["segments"]):
        assert found["segments"][index].tolist() == [segment["start_s"], segment["end_s"]]
        assert found["pnr.scores"][index].tolist() == [
            np.float32(s) for s in segment["pnr"]["scores"]
        ]
        assert found["pnr.time_s"][index] == segment["pnr"]["time_s"]
        assert found["oscc.state_change"][index] == np.float32(segment["oscc"]["probability"])
        for space in ("verb", "noun"):
            for label in segment["ar"][space]:
                probability = found[f"ar.{space}"][index, label["id"]]
                assert probability == np.float32(label["probability"])
    futures = [[[step["verb"], step["noun"]] for step in f] for f in answer["lta"]["hypotheses"]]
    assert found["lta.hypotheses"].tolist() == futures


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


def test_a_last_window_that_was_moved_back_needs_the_clips_length(served):
    assert_failure(infer(served, features(), parameters={"num_frames": 260}), 422, "16 windows")
    moved = arrays(infer(served, features(15), parameters={"num_frames": 250, "segment_s": 4}))
    assert moved["segments"][-1, 1] == 250 / 30


def test_only_the_tasks_behind_the_outputs_are_answered(served):
    wishes = ["pnr.time_s", {"name": "lta.hypotheses", "parameters": {"binary_data": True}}]
    answer = infer(served, video(), outputs=wishes, id="mine")
    length = int(answer.headers[LENGTH])
    assert json.loads(answer.content[:length])["id"] == "mine"
    assert list(arrays(answer)) == ["pnr.time_s", "lta.hypotheses"]
    assert list(arrays(infer(served, video(), outputs=["segments"]))) == ["segments"]


WRONG = [
    ((), {}, 422, "/inputs"),
    ((video(), features()), {}, 422, "/inputs"),
    ((video(name="sound"),), {}, 422, "/inputs/0/name"),
    ((video(datatype="FP32"),), {}, 422, "BYTES"),
    ((video(shape=[2]),), {}, 422, "shape [1]"),
    ((video(data=["***"]),), {}, 422, "base64"),
    ((video(data=[{"a": 1}]),), {}, 422, "base64"),
    ((video(data=[]),), {}, 422, "base64"),
    ((video(data=None),), {}, 422, "in the JSON or after"),
    ((video(b"reject damaged"),), {}, 422, "plain sentence"),
    ((video(b"bug"),), {}, 500, "fault is ours"),
    ((features(datatype="BYTES"),), {}, 422, "FP32"),
    ((features(shape=[56]),), {}, 422, "[L, D]"),
    ((features(shape=[7, 4]),), {}, 422, "56 numbers"),
    ((features(shape=[2**31, 2**31]),), {}, 422, "shape"),
    ((features(data=["x"] * 56),), {}, 422, "numbers"),
    ((features(data=[[1.0], [1.0, 2.0]]),), {}, 422, "one length"),
    ((features(width=5),), {}, 422, "4 numbers"),
    ((features(0),), {}, 422, "at least one"),
    ((features(data=[float("nan")] * 56),), {}, 400, "JSON"),
    ((features(data=[1e300] * 56),), {}, 422, "finite"),
    ((features(2000),), {}, 422, "limit is 64"),
    ((features(),), {"parameters": {"num_frames": 1.5}}, 422, "num_frames"),
    ((features(),), {"parameters": {"num_frames": -1}}, 422, "num_frames"),
    ((features(),), {"parameters": {"colour": 1}}, 422, "/parameters/colour"),
    ((features(),), {"parameters": {"segment_s": "long"}}, 422, "/segment_s"),
    ((features(),), {"parameters": {"timeout": 10**9}}, 422, "/timeout_s"),
    ((features(),), {"parameters": {"timeout": "soon"}}, 422, "microseconds"),
    ((features(),), {"outputs": ["dance"]}, 422, "/outputs/0/name"),
    (
        (features(),),
        {"outputs": [{"name": "segments", "parameters": {"x": 1}}]},
        422,
        "binary_data",
    ),
    ((features(),), {"priority": 1}, 422, "/priority"),
]


@pytest.mark.parametrize(("inputs", "more", "status", "word"), WRONG, ids=lambda v: str(v)[:30])
def test_a_wrong_inference_is_refused_as_the_protocol_says(served, inputs, more, status, word):
    if "JSON" in word and status == 400:  # httpx will not write what is no JSON
        text = json.dumps({"inputs": list(inputs)}).replace("NaN", "nan")
        response = served.http.post(INFER, content=text)
    else:
        response = infer(served, *inputs, **more)
    assert_failure(response, status, word)
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


@pytest.mark.parametrize(
    "path",
    ["/v2/models/other", "/v2/models/fake/versions/2/ready", "/v2/nothing", "/v2/models/fake/x"],
)
def test_what_is_not_there_is_told_in_the_protocols_words(served, path):
    assert_failure(served.http.get(path), 404)


def test_other_models_and_methods_are_refused_in_the_protocols_words(served):
    assert_failure(infer(served, video(), path="/v2/models/other/infer"), 404)
    assert_failure(infer(served, video(), path="/v2/models/fake/versions/2/infer"), 404)
    assert_failure(served.http.get(INFER), 405)


def test_readiness_follows_the_engine(served):
    served.engine.life.drain()
    for path in ("/v2/health/ready", "/v2/models/fake/ready"):
        assert_failure(served.http.get(path), 503)
        assert "retry-after" in served.http.get(path).headers
    assert_failure(infer(served, video()), 503)
    assert served.http.get("/v2/health/live").status_code == 200
    assert_problem(served.http.get("/readyz"), 503, "draining")


def test_the_key_is_asked_for_in_the_protocols_words(serve):
    served = serve(api_key="k")  # waits on /readyz, which is open
    assert_failure(served.http.get("/v2"), 401)
    assert served.http.get("/v2", headers={"authorization": "Bearer k"}).status_code == 200
