"""`effect` on a small synthetic world, five labels a class: HTTP and the command learn alike."""

import csv
from collections import Counter
from dataclasses import replace

import pytest

from extract.features.store import FeatureStore
from model.train.__main__ import main as train
from model.train.datasets.rendered import FEATURES, render_world
from tabletop.files.extra_labels import write_labels
from tabletop.story.script import SMOKE
from tests.server.teaching.teaching_app import keep, report, teach, teaching_app
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle

pytestmark = pytest.mark.slow(25)

WORLD = replace(SMOKE, train_videos=2, actions_per_video=(12, 12))
TASK = {
    "name": "effect",
    "kind": "segment",
    "labels": ["reversible", "irreversible", "transport", "none"],
    "nodes": 9,
}
A_CLASS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features of the world, and its labels: the first few of each class to learn from."""
    folder = tmp_path_factory.mktemp("effect")
    render_world(folder, WORLD, SHIPPED_BUNDLE, jobs=1, progress=lambda *_: None)
    write_labels("effect", WORLD, folder / "all.csv")
    with (folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seen = Counter()
    for row in rows:
        seen[row["label"]] += 1
        row["split"] = "train" if seen[row["label"]] <= A_CLASS else "test"
    assert min(seen[label] for label in TASK["labels"]) >= A_CLASS
    with (folder / "few.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_the_accuracy_over_http_is_that_of_the_command(folder):
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in TASK.items()]
    (folder / "effect.toml").write_text("\n".join(lines) + "\n")
    status = train([
        "--learn", str(folder / "effect.toml"), "--labels", str(folder / "few.csv"),
        "--features", str(folder / FEATURES), "--work", str(folder / "work"),
        "--out", str(folder / "bundle"),
    ])  # fmt: skip
    assert status == 0
    learnt = load_bundle(folder / "bundle").manifest
    store = FeatureStore(folder / FEATURES)
    with teaching_app(SHIPPED_BUNDLE) as http:
        for video in store.video_ids():
            assert keep(http, store.read(video)).status_code == 201
        text = (folder / "few.csv").read_text()
        made = report(http, teach(http, text, task=TASK, activate=True))
        (facts,) = http.get("/v1/models").json()["models"]
    assert made["held_out_by"] == "test"
    assert set(made["count"].values()) == {A_CLASS}
    expected = learnt.metrics["test"]["effect"]["top1"]
    assert made["accuracy"]["share"] == pytest.approx(expected, abs=1e-6)
    assert facts["metrics"]["test"]["effect"]["top1"] == pytest.approx(expected, abs=1e-6)
