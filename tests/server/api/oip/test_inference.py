import json

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


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "more", "status", "word"), WRONG, ids=lambda v: str(v)[:30])
def test_a_wrong_inference_is_refused_as_the_protocol_says(served, inputs, more, status, word):
    if "JSON" in word and status == 400:  # httpx will not write what is no JSON
        text = json.dumps({"inputs": list(inputs)}).replace("NaN", "nan")
        response = served.http.post(INFER, content=text)
    else:
        response = infer(served, *inputs, **more)
    assert_failure(response, status, word)
    assert served.spooled() == []
