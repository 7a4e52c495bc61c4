"""A bundle with tasks of one's own behind a real server: nothing here is written for them."""

import pytest

from clients.output.text import describe
from clients.results.predictions import PredictionResult
from model.predict.predictor import Predictor
from model.train.__main__ import main as train
from server.schemas import prediction as schemas
from tests.extract.support.clips import noisy_frames, write_clip
from tests.server.conftest import assert_problem
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import serving
from tests.support.factories import make_bundle
from tests.support.own_tasks import KINDS, write_features, write_labels, write_task
from weights.bundle import save_bundle

FOUR = {"ar", "lta", "oscc", "pnr"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a bundle that learnt a task of each kind."""
    folder = tmp_path_factory.mktemp("own")
    save_bundle(make_bundle(), folder / "bundle")
    write_features(folder / "features", Predictor.from_bundle(folder / "bundle").encoder)
    for name in KINDS:
        status = train([
            "--learn", str(write_task(folder, name)), "--labels", str(write_labels(folder, name)),
            "--features", str(folder / "features"), "--work", str(folder / "work"),
            "--bundle", str(folder / "bundle"), "--out", str(folder / "bundle"),
        ])  # fmt: skip
        assert status == 0
    return folder


@pytest.fixture(scope="module")
def http(folder):
    settings = make_settings(bundle=folder / "bundle", spool_dir=folder / "spool")
    with serving(settings) as client:
        yield client


@pytest.fixture(scope="module")
def clip(folder):
    return write_clip(folder / "clip.mp4", noisy_frames(120, 64, 48)).read_bytes()


def post(http, clip, **query):
    headers = {"content-type": "video/mp4"}
    return http.post("/v1/predictions", content=clip, params=query, headers=headers)


@pytest.mark.slow
def test_own_skills_answer_beside_the_four(http, clip):
    response = post(http, clip, segments=["0,2", "2,4"])
    assert response.status_code == 200, response.text
    body = response.json()
    schemas.Prediction.model_validate_json(response.text, strict=True)
    for segment in body["segments"]:
        assert FOUR - {"lta"} <= set(segment)
        assert set(segment["skills"]) == {"hand", "mood", "drop"}
        instant = segment["skills"]["drop"]["instant"]
        assert instant["frame"] == round(30 * instant["time_s"])
        assert len(instant["scores"]) == 8
        assert segment["start_s"] <= instant["time_s"] < segment["end_s"]
    assert set(body["skills"]) == {"next-room"}
    assert len(body["skills"]["next-room"]["steps"]) == 3
    result = PredictionResult.from_dict(body)
    label = body["segments"][0]["skills"]["mood"]["labels"][0]
    assert result.segments[0].skills["mood"].labels[0].label == label["label"]
    text = describe(result)
    assert f"{label['label']} ({label['probability']:.0%})" in text
    assert "next-room: what comes next" in text


def test_one_own_skill_alone_can_be_asked_for(http, clip):
    body = post(http, clip, tasks="mood", **{"return": "scores"}).json()
    assert set(body["segments"][0]) == {"start_s", "end_s", "skills"}
    assert set(body["segments"][0]["skills"]) == {"mood"}
    assert "lta" not in body
    assert "skills" not in body


def test_the_four_alone_look_as_if_there_were_no_others(http, clip):
    body = post(http, clip, tasks=",".join(sorted(FOUR))).json()
    assert "skills" not in body
    assert all("skills" not in segment for segment in body["segments"])


def test_models_and_taxonomy_list_them(http):
    facts = http.get("/v1/models").json()["models"][0]
    assert set(facts["tasks"]) == FOUR | set(KINDS)
    assert facts["skills"]["hand"]["outputs"] == ["hand"]
    assert facts["label_counts"]["hand"] == 2
    assert "top1" in facts["metrics"]["val"]["hand"]
    assert http.get("/v1/taxonomy").json()["label_spaces"]["hand"] == ["calm, quiet", "wild"]


def test_an_unknown_task_is_told_of_them(http, clip):
    problem = assert_problem(post(http, clip, tasks="dance"), 422, "invalid-field")
    assert "hand" in problem["detail"]
