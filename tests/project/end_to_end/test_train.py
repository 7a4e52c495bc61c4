"""From nothing to a bundle, and what a newcomer then does with it."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from extract.decode.clip import Limits
from extract.features.extractor import Extractor
from extract.features.store import FeatureStore
from extract.sandbox.pool import DecodePool
from model.data.annotations import DataRoot
from model.evaluate.__main__ import main as evaluate
from model.predict.predictor import Predictor, PredictRequest
from model.train.__main__ import main as train
from tests.project.end_to_end.conftest import COMMAND, ROOT
from weights.bundle import load_bundle

pytestmark = [pytest.mark.slow(10), pytest.mark.xdist_group("smoke")]
ALL = frozenset({"ar", "lta", "oscc", "pnr"})


@pytest.fixture(scope="session")
def predictor(smoke_run):
    return Predictor.from_bundle(smoke_run / "bundle")


def test_a_killed_run_went_on_and_made_a_sound_bundle(smoke_run):
    log = smoke_run.with_name("train.log").read_text()
    assert "world: done before" in log
    assert "footage: done before" in log
    manifest = load_bundle(smoke_run / "bundle").manifest
    assert set(manifest.skills) == ALL
    assert "encoder.onnx" in manifest.files
    assert set(manifest.metrics) == {"val", "test"}
    assert manifest.training["command"] == "python -m model.train --smoke"
    assert not list(smoke_run.glob("*.part")) + list(smoke_run.glob("*.checkpoint"))


def test_running_again_makes_nothing_again(smoke_run, caplog):
    before = load_bundle(smoke_run / "bundle")
    with caplog.at_level("INFO"):
        assert train(["--smoke", "--work", str(smoke_run)]) == 0
    assert "stage" not in caplog.text.replace("model.train.methods.stages", "")
    after = load_bundle(smoke_run / "bundle")
    assert after.manifest.files == before.manifest.files


def test_the_model_card_names_its_command_seed_and_every_metric(smoke_run):
    card = (smoke_run / "bundle" / "MODEL_CARD.md").read_text()
    for word in ("--smoke", "seed 0", "verb_top1", "accuracy", "error_s", "verb_ed", "frequency",
                 "chance", "not Ego4D numbers"):  # fmt: skip
        assert word in card


def test_served_video_and_stored_features_give_the_same_answers(smoke_run, predictor):
    data = DataRoot(smoke_run / "world")
    store = FeatureStore(smoke_run / "features")
    video = data.actions("test")[0].video_uid
    path = data.videos / f"{video}.mp4"
    with DecodePool(workers=1, limits=Limits(max_duration_s=1e4, max_frames=10**6)) as pool:
        clip = pool.decode(path, predictor.encoder.contract)
    served = Extractor(predictor.encoder).from_clip(clip, video_id=video)
    stored = store.read(video)
    torch.testing.assert_close(served.features, stored.features, atol=1e-5, rtol=1e-5)
    ours, theirs = (
        asdict(predictor.predict([PredictRequest(t, ALL)])[0]) for t in (served, stored)
    )
    assert json.dumps(_rounded(ours)) == json.dumps(_rounded(theirs))


def test_evaluating_the_bundle_repeats_the_figures_in_its_manifest(smoke_run, tmp_path):
    out = tmp_path / "metrics.json"
    assert evaluate([
        "--bundle", str(smoke_run / "bundle"), "--data", str(smoke_run / "world"),
        "--features", str(smoke_run / "features"), "--json", str(out),
    ]) == 0  # fmt: skip
    found = json.loads(out.read_text())
    manifest = load_bundle(smoke_run / "bundle").manifest
    for split, metrics in manifest.metrics.items():
        for column, tasks in {"model": metrics, **manifest.baselines[split]}.items():
            for task, figures in tasks.items():
                # The run was another process: threads add up float32 in another order.
                assert found[split][column][task] == pytest.approx(figures, abs=1e-5)


def test_evaluating_without_data_says_what_is_missing(smoke_run, tmp_path, capsys):
    assert evaluate(["--bundle", str(smoke_run / "bundle"), "--data", str(tmp_path)]) == 2
    assert "ego4d --output_directory" in capsys.readouterr().err


def test_another_seed_is_refused_in_the_same_folder(smoke_run, capsys):
    assert train(["--smoke", "--work", str(smoke_run), "--seed", "9"]) == 1
    assert "holds another world" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["model.train", "model.train compare", "model.evaluate", "tabletop"]
)
def test_every_command_explains_itself(command):
    shown = subprocess.run(
        [COMMAND[0], "-m", *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage:" in shown.stdout
    assert sys.executable == COMMAND[0]


def _rounded(value):
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
