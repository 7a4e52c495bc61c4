"""From videos and a spreadsheet to answers over HTTP, by one command: nothing else is written."""

import pytest

from clients.output.text import describe
from clients.results.predictions import PredictionResult
from model.evaluate.__main__ import main as evaluate
from model.train.__main__ import main as train
from tests.extract.support.clips import noisy_frames, write_clip
from tests.model.support.tables import OUTPUTS, VIDEOS, write_table
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import serving
from tests.support.factories import make_bundle
from weights.bundle import load_bundle, save_bundle

ROWS = 22
"""The fewest that LTA takes."""

pytestmark = pytest.mark.slow(12)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A bundle with an encoder, a table, and videos with capital endings below a folder."""
    root = tmp_path_factory.mktemp("own")
    save_bundle(make_bundle(), root / "encoder")
    write_table(root / "labels.csv", rows=ROWS, segment_s=1.25)
    for seed, video in enumerate(VIDEOS):
        path = root / "My Videos" / f"Box {seed}" / f"{video}.MP4"
        path.parent.mkdir(parents=True)
        made = write_clip(root / "clip.mp4", noisy_frames(round(ROWS * 37.5), 64, 48, seed=seed))
        made.rename(path)
    return root


def learn(root, *more):
    return train([
        "--data", f"table:{root / 'labels.csv'}", "--videos", str(root / "My Videos"),
        "--encoder", str(root / "encoder"), "--work", str(root / "work"), "--workers", "1",
        "--set", "fit.epochs=1", "--set", "hidden_size=8", *more,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def bundle(root):
    assert learn(root) == 0
    return root / "work" / "bundle"


@pytest.fixture(scope="module")
def http(root, bundle):
    settings = make_settings(bundle=bundle, spool_dir=root / "spool")
    with serving(settings) as client:
        yield client


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, noisy_frames(150, 64, 48)).read_bytes()


def post(http, path, clip, **query):
    headers = {"content-type": "video/mp4"}
    response = http.post(path, content=clip, params=query, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_clip_is_answered_by_the_tables_tasks(http, clip):
    body = post(http, "/v1/predictions", clip, segments=["0,2.5", "2.5,5"])
    for segment in body["segments"]:
        assert set(segment) == {"start_s", "end_s", "ar", "skills", "evidence"}
        assert {label["label"] for label in segment["ar"]["noun"]} == set(OUTPUTS["noun"])
        (labels,) = (answer["labels"] for answer in segment["skills"].values())
        assert {label["label"] for label in labels} == set(OUTPUTS["Which hand?"])
    assert len(body["lta"]["steps"]) == 20
    assert "which-hand" in describe(PredictionResult.from_dict(body))
    (model,) = http.get("/v1/models").json()["models"]
    assert set(model["tasks"]) == {"ar", "lta", "which-hand"}
    assert "The encoder tiny" in model["licence"]
    near = post(http, "/v1/backpack/search", clip)["matches"][0]["perspectives"]["which-hand"][0]
    assert near["verb"] in OUTPUTS["verb"]


def test_the_inference_protocol_names_every_label_of_the_third_column(http):
    found = http.get("/v2/models/table-labels").json()["outputs"]
    shapes = {output["name"]: output["shape"] for output in found}
    assert shapes["which-hand.labels"] == [-1, 3]
    assert shapes["ar.verb"] == [-1, 3]


def test_features_are_made_once_and_scored_by_the_bundles_tasks(root, bundle, capsys):
    before = load_bundle(bundle).sha256
    (features,) = (root / "work" / "features").iterdir()
    written = {path: path.stat().st_mtime_ns for path in features.iterdir()}
    assert len(written) == len(VIDEOS)
    next(iter(written)).unlink()  # one is gone: it alone is made again
    assert learn(root) == 0
    assert load_bundle(bundle).sha256 == before
    again = {path: path.stat().st_mtime_ns for path in features.iterdir()}
    assert sum(again[path] != time for path, time in written.items()) == 1
    assert evaluate(["--bundle", str(bundle), "--data", f"table:{root / 'labels.csv'}",
                     "--features", str(features)]) == 0  # fmt: skip
    rows = {line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:2] == "| "}
    assert {"ar", "lta", "which-hand"} <= rows
    assert not rows & {"oscc", "pnr"}


def test_all_missing_videos_are_named_at_once(root, capsys):
    table = write_table(root / "more.csv", rows=ROWS, videos=(*VIDEOS, "sixth", "Seventh"))
    assert train(["--data", f"table:{table}", "--videos", str(root / "My Videos"), "--encoder",
                  str(root / "encoder"), "--work", str(root / "other")]) == 1  # fmt: skip
    said = capsys.readouterr().err
    assert "expected one file named sixth, found none" in said
    assert "expected one file named Seventh, found none" in said
