import pytest

from model.predict.predictor import Predictor
from model.train.__main__ import main as train
from tests.model.train.new_skill.learning import answer, learn
from tests.support.own_tasks import SPLIT_OF, write_features
from weights.bundle import load_bundle


def test_the_same_seed_learns_the_same_skill_and_another_does_not(folder):
    files = []
    for seed in ("3", "3", "4"):
        assert learn(folder, "mood", "--seed", seed, out=folder / "again") == 0
        files.append(load_bundle(folder / "again").manifest.files["skill-mood.safetensors"])
    assert files[0] == files[1] != files[2]


def test_without_the_backpack_only_the_tasks_own_head_votes(folder):
    out = folder / "plain"
    assert learn(folder, "hand", "--no-backpack", "--fraction", "0.5", out=out) == 0
    manifest = load_bundle(out).manifest
    assert manifest.skills["hand"]["perspectives"] == []
    assert manifest.training["samples"]["train"]["hand"] < 18
    assert set(answer(out, {"hand"}).segments[0].evidence.votes["hand.hand"]) == {"own"}


@pytest.mark.slow
def test_what_the_features_tell_is_learnt(folder):
    """Labels that say in which half of the values a video's first feature lies are learnt."""
    store = write_features(folder / "features", Predictor.from_bundle(folder / "bundle").encoder)
    lines = ["video,start_s,end_s,label,split"]
    for video in SPLIT_OF:
        features = store.read(video).features
        for row in range(len(features) - 1):
            start_s = 16 * row / 30
            label = "high" if float(features[row, 0]) > 0 else "low"
            # one window exactly: the row's own
            split = "train" if video != "c" else "val"
            lines.append(f"{video},{start_s:.4f},{start_s + 32 / 30:.4f},{label},{split}")
    (folder / "told.csv").write_text("\n".join(lines))
    (folder / "told.toml").write_text(
        'name = "told"\nkind = "graph"\nparts = 1\nlearning_rate = 1e-2\nepochs = 25'
    )
    status = train([
        "--learn", str(folder / "told.toml"), "--labels", str(folder / "told.csv"),
        "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        "--out", str(folder / "told"), "--work", str(folder / "work"),
    ])  # fmt: skip
    assert status == 0
    manifest = load_bundle(folder / "told").manifest
    found, frequency = (
        values["told"]["top1"]
        for values in (manifest.metrics["val"], manifest.baselines["val"]["frequency"])
    )
    assert found > max(frequency, 0.5) + 0.15  # through a tiny backbone of random weights
