"""One clip, the shipped bundle, a real socket: the same numbers through every door."""

import io
import json
from contextlib import closing

import httpx
import numpy as np
import pytest
import torch
from tritonclient.http import (
    InferenceServerClient,
    InferenceServerException,
    InferInput,
    InferRequestedOutput,
)

from clients.client import EgoPackClient
from extract.features.store import FeatureStore
from server.api.app import create_app
from server.engine.engine import Engine
from server.engine.health import CANARY
from tests.server.support.fakes import make_settings
from tests.server.support.loopback import listening
from tests.support.waiting import PATIENCE_S

VOLATILE = ("id", "timings", "input")
SEGMENTS = [(0.0, 0.5), (0.5, 1.0)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where a real server listens, on this machine."""
    settings = make_settings(spool_dir=tmp_path_factory.mktemp("doors"))
    engine = Engine.from_settings(settings)
    with listening(create_app(settings, engine)) as address:
        with EgoPackClient(f"http://{address}") as client:
            client.wait_ready()
        yield address


@pytest.fixture(scope="module")
def http(address):
    with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_S, trust_env=False) as client:
        yield client


@pytest.fixture
def triton(address):
    with closing(InferenceServerClient(address)) as client:
        yield client


@pytest.fixture(scope="module")
def clip():
    return CANARY.read_bytes()


@pytest.fixture(scope="module")
def features(http, clip):
    response = http.post("/v1/features", content=clip, headers={"content-type": "video/mp4"})
    assert response.status_code == 200
    return response.content


def track_in(data, folder):
    (folder / "clip.safetensors").write_bytes(data)
    return FeatureStore(folder).read("clip")


def stable(values):
    return {name: value for name, value in values.items() if name not in VOLATILE}


def post(http, body, kind, *, status=200, **headers):
    query = {"segments": [f"{a},{b}" for a, b in SEGMENTS], "top_k": 100, "seed": 5}
    response = http.post(
        "/v1/predictions", content=body, params=query, headers={"content-type": kind, **headers}
    )
    assert response.status_code == status, response.text
    return response


@pytest.fixture(scope="module")
def expected(http, clip):
    return stable(post(http, clip, "video/mp4").json())


@pytest.mark.slow
def test_a_form_says_what_a_raw_body_says(http, clip, expected):
    choices = json.dumps({"segments": SEGMENTS, "top_k": 100, "seed": 5})
    files = {"request": (None, choices), "video": ("x", io.BytesIO(clip))}
    assert stable(http.post("/v1/predictions", files=files).json()) == expected


@pytest.mark.slow
def test_a_job_says_what_the_caller_who_waits_gets(http, clip, features, expected):
    for body, kind in ((clip, "video/mp4"), (features, "application/x-safetensors")):
        response = post(http, body, kind, status=202, prefer="respond-async")
        links = response.json()["links"]
        # The stream of events ends with the job.
        assert "event: completed" in http.get(links["events"]).text
        assert stable(http.get(links["result"]).json()) == expected


def test_features_say_what_the_clip_says(http, features, expected):
    found = stable(post(http, features, "application/x-safetensors").json())
    assert found == expected


def test_a_stream_ends_with_what_the_caller_who_waits_gets(http, clip, expected):
    text = post(http, clip, "video/mp4", accept="text/event-stream").text
    last = text.rstrip().split("\n\n")[-1].split("\n")
    assert last[0] == "event: completed"
    assert stable(json.loads(last[1].removeprefix("data: "))) == expected


def clip_input(data):
    tensor = InferInput("video", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], object))
    return tensor


def features_input(track, *, binary=True):
    matrix = track.features.numpy()
    tensor = InferInput("features", list(matrix.shape), "FP32")
    tensor.set_data_from_numpy(matrix, binary_data=binary)
    return tensor


def whole(http, clip, **query):
    """The whole clip as one segment, through the front door."""
    query = {"top_k": 100, "seed": 5, "segment_s": 8.0, **query}
    headers = {"content-type": "video/mp4"}
    return http.post("/v1/predictions", content=clip, params=query, headers=headers).json()


def assert_says(result, answer, taxonomy):
    """Checks tensors against JSON, number by number."""
    (segment,) = answer["segments"]
    assert result.as_numpy("segments").tolist() == [[segment["start_s"], segment["end_s"]]]
    assert result.as_numpy("oscc.state_change").tolist() == [
        np.float32(segment["oscc"]["probability"])
    ]
    assert result.as_numpy("pnr.scores").tolist() == [
        [np.float32(s) for s in segment["pnr"]["scores"]]
    ]
    assert result.as_numpy("pnr.time_s").tolist() == [segment["pnr"]["time_s"]]
    pairs = [(f"ar.{space}", [segment["ar"][space]]) for space in ("verb", "noun")]
    pairs += [
        (f"lta.{space}", [step[space] for step in answer["lta"]["steps"]])
        for space in ("verb", "noun")
    ]
    for name, lists in pairs:
        space = name.partition(".")[2]
        found = result.as_numpy(name)
        assert found.shape == (len(lists), len(taxonomy[space]))
        for row, ranked in zip(found, lists, strict=True):
            assert len(ranked) == len(row)
            for label in ranked:
                assert row[label["id"]] == np.float32(label["probability"])
                assert taxonomy[space][label["id"]] == label["label"]
    futures = [
        [[step["verb"].encode(), step["noun"].encode()] for step in future]
        for future in answer["lta"]["hypotheses"]
    ]
    assert result.as_numpy("lta.hypotheses").tolist() == futures


def test_the_public_triton_client_gets_the_same_numbers(http, triton, clip, features, tmp_path):
    answer = whole(http, clip)
    taxonomy = http.get("/v1/taxonomy").json()["label_spaces"]
    name, track = answer["model"]["name"], track_in(features, tmp_path)
    given = {"seed": 5, "segment_s": 8.0}
    assert_says(triton.infer(name, [clip_input(clip)], parameters=given), answer, taxonomy)
    given["num_frames"] = track.num_frames
    for binary in (True, False):
        tensor = features_input(track, binary=binary)
        assert_says(triton.infer(name, [tensor], parameters=given), answer, taxonomy)
    again = triton.infer(name, [tensor], model_version="1", parameters=given, request_id="a")
    assert again.get_response()["id"] == "a"


def test_the_public_triton_client_can_choose_outputs_and_how_they_come(http, triton, clip):
    answer = whole(http, clip, tasks="oscc")
    name = answer["model"]["name"]
    for binary in (True, False):
        wish = InferRequestedOutput("oscc.state_change", binary_data=binary)
        result = triton.infer(name, [clip_input(clip)], outputs=[wish])
        assert result.as_numpy("oscc.state_change").tolist() == [
            np.float32(answer["segments"][0]["oscc"]["probability"])
        ]
        assert result.as_numpy("ar.verb") is None


def test_the_public_triton_client_finds_its_way_about(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert triton.is_model_ready("tabletop")
    assert triton.is_model_ready("tabletop", "1")
    assert not triton.is_model_ready("other")
    metadata = triton.get_model_metadata("tabletop")
    assert {tensor["name"] for tensor in metadata["inputs"]} == {"features", "video"}
    assert "ar.verb" in {tensor["name"] for tensor in metadata["outputs"]}


def test_the_public_triton_client_understands_refusals(triton, clip):
    with pytest.raises(InferenceServerException, match="no model of this name"):
        triton.infer("other", [clip_input(clip)])
    with pytest.raises(InferenceServerException, match="do not start like") as caught:
        triton.infer("tabletop", [clip_input(b"just some text, and more of it")])
    assert caught.value.status() == "415"
    tensor = InferInput("features", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with pytest.raises(InferenceServerException, match="192 numbers"):
        triton.infer("tabletop", [tensor])


def test_the_backpack_shows_the_evidence_of_an_answer(http, clip, features):
    """AR asks three perspectives on the way to its answer; a search asks them of the same graph."""
    answer = whole(http, clip, tasks="ar", top_k=4)
    evidence = answer["segments"][0]["evidence"]["neighbours"]["ar"]
    for body, kind in ((clip, "video/mp4"), (features, "application/x-safetensors")):
        found = http.post(
            "/v1/backpack/search", content=body, params={"top_k": 4}, headers={"content-type": kind}
        ).json()
        (match,) = found["matches"]
        assert set(match["perspectives"]) == {"ar", *evidence}
        for perspective, near in evidence.items():
            searched = match["perspectives"][perspective]
            assert [(n["verb"], n["noun"], n["count"]) for n in searched] == [
                (n["verb"], n["noun"], n["count"]) for n in near
            ]
            assert [n["similarity"] for n in searched] == pytest.approx(
                [n["similarity"] for n in near], abs=1e-5
            )


def test_the_features_are_those_of_the_extractor(features, tmp_path):
    from extract.decode.clip import Limits
    from extract.decode.video import decode_clip
    from extract.features.extractor import Extractor
    from model.predict.predictor import Predictor
    from weights import SHIPPED_BUNDLE

    encoder = Predictor.from_bundle(SHIPPED_BUNDLE).encoder
    clip = decode_clip(CANARY, encoder.contract, Limits())
    ours = Extractor(encoder).from_clip(clip, video_id="clip")
    track = track_in(features, tmp_path)
    torch.testing.assert_close(track.features, ours.features, atol=1e-5, rtol=0)
    assert track.encoder == ours.encoder
