"""A data set in Ego4D's layout, files only: train, evaluate, score, reproduce."""

import json
from dataclasses import replace

import pytest

import model.train.__main__ as train_command
import model.train.reproduce.command as reproduce_command
from bench.ego4d.tree import TreeSize, write_tree
from model.config import FitConfig
from model.evaluate.__main__ import main as evaluate
from model.evaluate.paper import PAPER
from model.score.__main__ import main as score
from model.tasks import TASKS
from model.train.presets import EGO4D
from weights.bundle import load_bundle

pytestmark = pytest.mark.slow(30)

FEATURES = "omnivore_video_swinl"
BRIEF = FitConfig(epochs=1, learning_rate=1e-3, batch_size=64, warmup_epochs=0.0)


def brief(preset):
    """The preset's rules with a tiny model and one epoch of everything."""
    learning = EGO4D[preset]
    config = replace(learning.model, hidden_size=8, interaction_layers=1)
    brief = replace(learning, model=config)
    return brief.refit(lambda fit: replace(fit, epochs=1, batch_size=64))


@pytest.fixture(autouse=True)
def _tiny_presets(monkeypatch):
    tiny = {name: brief(name) for name in EGO4D}
    monkeypatch.setattr(train_command, "EGO4D", tiny)
    monkeypatch.setattr(reproduce_command, "EGO4D", tiny)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    size = replace(TreeSize().scaled(0.02), width=12)
    return write_tree(tmp_path_factory.mktemp("ego4d"), size).root


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def train(root, work, *more):
    return train_command.main(["--data", str(root), "--work", str(work), *more])


@pytest.mark.parametrize(
    ("preset", "protocol", "backbones"), [("paper", "shared", 1), ("authors", "paper", 4)]
)
def test_from_files_to_a_scored_bundle_and_challenge_files(
    root, work, preset, protocol, backbones, capsys
):
    folder = work / preset
    assert train(root, folder, "--preset", preset, "--protocol", protocol) == 0
    manifest = load_bundle(folder / "bundle").manifest
    assert set(manifest.skills) == set(TASKS)
    assert len(manifest.backbones) == backbones
    assert manifest.encoder == {"name": FEATURES, "kind": "features"}
    assert set(manifest.metrics) == {"val"}  # Ego4D keeps the labels of its test split
    assert manifest.training["data"].startswith("Ego4D v1")
    assert str(root) not in json.dumps(manifest.to_dict())
    windows = "before-2023-08" if preset == "authors" else "current"
    assert manifest.training["lta_windows"] == windows

    bundle, out = ["--bundle", str(folder / "bundle")], folder / "report"
    packed = ["--features", FEATURES, "--packed-under", str(folder)]
    assert evaluate([*bundle, "--data", str(root), *packed, "--out", str(out)]) == 0
    shown = json.loads((out / "metrics.json").read_text())["splits"]["val"]
    assert shown["model"]["lta"]["samples"] == manifest.metrics["val"]["lta"]["samples"]
    assert ("lta" in shown["paper"]) == (windows == "before-2023-08")
    assert shown["paper"]["oscc"]["accuracy"] == PAPER["egopack"][2]
    for task, figures in manifest.metrics["val"].items():
        for metric in ("accuracy", "error_s", "verb_top1"):
            if metric in figures:
                assert shown["model"][task][metric] == pytest.approx(figures[metric], abs=1e-6)

    features = root / "v1" / FEATURES
    answers = [
        "--annotations",
        str(root),
        "--features",
        str(features),
        "--out",
        str(folder / "sub"),
    ]
    assert score([*bundle, *answers]) == 0
    capsys.readouterr()
    files = [str(folder / "sub" / f"{task}.json") for task in ("lta", "oscc", "pnr")]
    assert score(["--annotations", str(root), "--check", *files]) == 0


def test_methods_stand_beside_the_papers_figures(root, work, capsys):
    assert train_command.main([
        "reproduce", "--data", str(root), "--work", str(work / "rep"), "--seeds", "1",
        "--methods", "mlp", "egopack", "--out", str(work / "rep" / "out"), "--jobs", "2",
    ]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert all(f"(paper {figure:g})" in text for figure in PAPER["mlp"])
    assert "Methods, test" not in text


def test_missing_features_are_named_with_the_command_that_fetches_them(root, work, capsys):
    assert train(root, work / "none", "--features", "slowfast8x8_r101_k400") == 1
    said = capsys.readouterr().err
    assert "slowfast8x8_r101_k400" in said
    assert "ego4d --output_directory" in said


def test_an_older_enumeration_leaves_out_windows(root, work):
    assert train(root, work / "old", "--lta-windows", "before-2023-08", "--method", "mlp") == 0
    assert train(root, work / "new", "--method", "mlp") == 0
    old, new = (
        load_bundle(work / name / "bundle").manifest.training["samples"]["train"]["lta"]
        for name in ("old", "new")
    )
    assert 0 < old < new
