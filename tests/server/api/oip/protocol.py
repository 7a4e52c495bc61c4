"""Inferences of the Open Inference Protocol, as bytes on the wire."""

import base64

import numpy as np

from server.api.oip.schemas import InferResponse
from tests.server.support.fakes import clip

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
