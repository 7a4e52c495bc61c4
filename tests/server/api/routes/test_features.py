"""Features out, and features in the clip's place."""

import json

import pytest
import torch
from safetensors.torch import load, save

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_file import track_bytes
from server.api.clip_request import features_limit
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.server.support.open_upload import OpenUpload
from tests.support.factories import make_track

SAFETENSORS = "application/x-safetensors"
VIDEO = {"content-type": "video/mp4"}


def features_of(served, body, **query):
    return served.http.post("/v1/features", content=body, params=query, headers=VIDEO)


def track(served, num_frames=240, **values):
    encoder = served.predictor.encoder
    made = make_track(num_frames, encoder=EncoderId(encoder.name, encoder.fingerprint), width=4)
    object.__setattr__(made, "is_padded", num_frames < 32)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def facts_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size])["__metadata__"]


def stable(response):
    assert response.status_code == 200, response.text
    return {k: v for k, v in response.json().items() if k not in ("id", "timings", "input")}


def test_features_are_a_file_of_the_store(served, tmp_path):
    response = features_of(served, clip(240, 51))
    assert response.status_code == 200
    assert response.headers["content-type"] == SAFETENSORS
    (tmp_path / "clip.safetensors").write_bytes(response.content)
    found = FeatureStore(tmp_path).read("clip")
    assert found.features.shape == (14, 4)
    assert torch.equal(found.features, torch.full((14, 4), 51.0))
    assert (found.num_frames, found.encoder.name) == (240, "fake")
    assert served.spooled() == []


def test_features_sent_back_are_answered_as_the_clip_is(served):
    body = clip(250, 70)
    data = features_of(served, body).content
    raw = served.post(data, kind=SAFETENSORS, segments=["0,4", "4,8"], top_k=1)
    choices = json.dumps({"segments": [[0, 4], [4, 8]], "top_k": 1})
    files = {"features": ("x", data), "request": (None, choices)}
    form = served.http.post("/v1/predictions", files=files)
    whole = served.post(body, segments=["0,4", "4,8"], top_k=1)
    assert stable(raw) == stable(form) == stable(whole)
    assert "input" not in raw.json()
    decoded = served.pool.decoded
    assert served.post(data, kind=SAFETENSORS).status_code == 200
    assert served.pool.decoded == decoded


def broken_metadata(served, **facts):
    data = track_bytes(track(served))
    known = facts_of(data) | facts
    return save(load(data), metadata={k: v for k, v in known.items() if v is not None})


def without_times(served):
    tensors = load(track_bytes(track(served)))
    del tensors["start_s"]
    return save(tensors, metadata=facts_of(track_bytes(track(served))))


WRONG = {
    "no safetensors": lambda s: b"just some text",
    "a header that is a lie": lambda s: (2**60).to_bytes(8, "little") + b"{}",
    "no metadata": lambda s: save(load(track_bytes(track(s)))),
    "no times": without_times,
    "endless length": lambda s: broken_metadata(s, num_frames="1e999"),
    "no length": lambda s: broken_metadata(s, num_frames="null"),
    "negative length": lambda s: broken_metadata(s, num_frames="-5"),
    "another length": lambda s: broken_metadata(s, num_frames="400"),
    "another rate": lambda s: broken_metadata(s, fps="25.0"),
    "no rate": lambda s: broken_metadata(s, fps="0"),
    "another stride": lambda s: broken_metadata(s, stride_frames="8"),
    "padded": lambda s: broken_metadata(s, is_padded="true"),
    "another format": lambda s: broken_metadata(s, format='"x"'),
    "deep metadata": lambda s: broken_metadata(s, fps="[" * 50_000),
    "another encoder": lambda s: track_bytes(track(s, encoder=EncoderId("fake", "e" * 64))),
    "an encoder of an odd type": lambda s: broken_metadata(s, encoder_fingerprint="[1]"),
    "half precision": lambda s: track_bytes(track(s, features=torch.zeros(14, 4).half())),
    "another width": lambda s: track_bytes(track(s, features=torch.zeros(14, 5))),
    "no rows": lambda s: track_bytes(
        track(s, features=torch.zeros(0, 4), start_s=torch.zeros(0), end_s=torch.zeros(0))
    ),
    "rows too few": lambda s: track_bytes(
        track(s, features=torch.zeros(13, 4), start_s=torch.zeros(13), end_s=torch.zeros(13))
    ),
    "no number": lambda s: track_bytes(track(s, features=torch.full((14, 4), torch.nan))),
    "an infinity": lambda s: track_bytes(track(s, features=torch.full((14, 4), torch.inf))),
    "other times": lambda s: track_bytes(track(s, start_s=torch.zeros(14).double())),
    "times in single precision": lambda s: track_bytes(track(s, start_s=track(s).start_s.float())),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_features_that_are_not_this_encoders_are_refused(served, name):
    body = WRONG[name](served)
    assert_problem(served.post(body, kind=SAFETENSORS), 422, "unusable-features")
    assert served.spooled() == []


def test_features_of_too_long_a_clip_are_refused(serve):
    served = serve(max_duration_s=4)
    body = track_bytes(track(served, 240))
    assert_problem(served.post(body, kind=SAFETENSORS), 422, "too-long-for-sync")
    assert served.post(track_bytes(track(served, 120)), kind=SAFETENSORS).status_code == 200


@pytest.mark.parametrize("prefer", ["wait=1", "respond-async"])
@pytest.mark.parametrize("is_form", [False, True])
def test_features_larger_than_those_of_the_longest_clip_are_refused_while_they_come(
    serve, is_form, prefer
):
    served = serve(max_duration_s=4, job_max_duration_s=8)
    limit = features_limit(served.engine, 8).max_bytes
    form = b'--x\r\nContent-Disposition: form-data; name="features"\r\n\r\n' * is_form
    kind = "multipart/form-data; boundary=x" if is_form else SAFETENSORS
    upload = OpenUpload(served, headers={"content-type": kind, "prefer": prefer})
    upload.send(form + bytes(limit // 2))
    upload.send(bytes(limit))  # the body does not end here, and does not have to
    assert upload.status() == 413
    assert b"ample for features of" in upload.sent[1]["body"]
    assert served.spooled() == []


def test_a_clip_and_its_features_at_once_are_refused(served):
    files = {"features": ("x", b"abc"), "video": ("y", clip())}
    assert_problem(served.http.post("/v1/predictions", files=files), 422, "invalid-field")


def test_features_are_made_of_clips_alone(served):
    body = track_bytes(track(served))
    response = served.http.post("/v1/features", content=body, headers={"content-type": SAFETENSORS})
    assert_problem(response, 415, "unsupported-media")
    form = served.http.post("/v1/features", files={"features": ("x", body)})
    assert_problem(form, 422, "invalid-field")


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        (b"reject damaged", {}, 422, "undecodable-video"),
        (clip(), {"tasks": "ar"}, 422, "invalid-field"),
        (clip(), {"timeout_s": 3600}, 422, "invalid-field"),
        (b"slow 0.3", {"timeout_s": 0.05}, 504, "deadline-exceeded"),
        (b"", {}, 400, "malformed-request"),
    ],
)
def test_a_clip_without_features_is_refused_as_a_problem(served, body, query, status, code):
    assert_problem(features_of(served, body, **query), status, code)
    assert served.spooled() == []
