import pytest

from model.nn.skill_set import build_skills
from model.predict.predictor import Predictor
from model.train.__main__ import main as train
from tests.model.train.new_skill.learning import answer, learn
from tests.support.own_tasks import SPLIT_OF, write_features, write_labels
from weights.bundle import load_bundle
from weights.errors import BundleError


@pytest.mark.slow(2)
def test_the_same_seed_learns_the_same_skill_and_another_does_not(folder):
    files = []
    for seed in ("3", "3", "4"):
        more = ("--seed", seed, "--method", "egopack")
        assert learn(folder, "mood", *more, out=folder / "again") == 0
        files.append(load_bundle(folder / "again").manifest.files["skill-mood.safetensors"])
    assert files[0] == files[1] != files[2]


def test_without_the_backpack_only_the_tasks_own_head_votes(folder):
    out = folder / "plain"
    assert learn(folder, "hand", "--no-backpack", "--fraction", "0.5", out=out) == 0
    manifest = load_bundle(out).manifest
    assert manifest.skills["hand"]["perspectives"] == []
    assert manifest.training["samples"]["train"]["hand"] < 18
    evidence = answer(out, {"hand"}).segments[0].evidence
    assert set(evidence.votes["hand.hand"]) == {"own"}
    assert evidence.examples == {}


@pytest.mark.parametrize(
    ("more", "method", "votes"),
    [
        ((), "auto", None),
        (("--method", "head"), "head", {"own"}),
        (("--method", "egopack"), "egopack", {"own", "ar", "lta", "oscc", "pnr"}),
        (("--method", "egopack", "--no-backpack"), "fine-tuning", {"own"}),
    ],
)
def test_a_method_is_what_it_says(folder, more, method, votes):
    out = folder / f"by-{method}"
    assert learn(folder, "mood", *more, out=out) == 0
    bundle = load_bundle(out)
    assert bundle.manifest.training["skills"]["mood"]["method"] == method
    found = set(answer(out, {"mood"}).segments[0].evidence.votes["mood.mood"])
    assert found == (votes or set(bundle.manifest.skills["mood"]["voters"]))


def test_without_a_split_column_every_label_is_learnt_from(folder, tmp_path, capsys):
    lines = write_labels(folder, "mood").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    out = tmp_path / "out"
    assert learn(folder, "mood", "--labels", str(tmp_path / "labels.csv"), out=out) == 0
    manifest = load_bundle(out).manifest
    assert manifest.training["samples"]["train"]["mood"] == 36
    found = manifest.metrics["cross-validation"]["mood"]
    assert found["top1_low"] < found["top1"] < found["top1_high"]
    assert found["samples"] == 36
    assert f"{found['top1']:.3f} [" in capsys.readouterr().out


def test_one_label_a_class_is_learnt_and_not_judged(folder, tmp_path, capsys):
    lines = write_labels(folder, "mood").read_text().splitlines()
    train = [line for line in lines if line.endswith("train")]
    two = [next(line for line in train if end in line) for end in ("calm", "wild")]
    (tmp_path / "two.csv").write_text("\n".join([lines[0], *two]))
    out = tmp_path / "out"
    assert learn(folder, "mood", "--labels", str(tmp_path / "two.csv"), out=out) == 0
    bundle = load_bundle(out)
    assert "mood" not in bundle.manifest.metrics.get("cross-validation", {})
    assert "too few to say" in capsys.readouterr().out
    assert "too few to say" in bundle.card
    assert bundle.manifest.calibration["mood.mood"] == {"temperature": 1.0}
    assert len(answer(out, {"mood"}).segments[0].evidence.examples["mood"]) == 2


def test_a_voter_that_is_not_known_is_refused(folder):
    out = folder / "by-head"
    assert learn(folder, "mood", "--method", "head", out=out) == 0
    bundle = load_bundle(out)
    bundle.manifest.skills["mood"]["voters"] = {"oracle": 1.0}
    with pytest.raises(BundleError, match="oracle"):
        build_skills(bundle)


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
