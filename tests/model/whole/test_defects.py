"""What is wrong with real annotation files: the right result, or one message with file and row.

Each defect spoils a sound tree of `ego4d_tree.py`, which is then trained on, evaluated and scored
by the commands themselves. Training that cannot end well is refused before its first stage.
"""

import json
import random
from dataclasses import dataclass, replace

import pytest

import model.train.__main__ as train_command
from model.data.annotations import FEATURES, VERSIONS
from model.evaluate.__main__ import main as evaluate
from model.score.__main__ import main as score
from model.train.presets import EGO4D
from tests.model.support.ego4d_tree import ACTIONS, Defect, EgoTree
from weights.bundle import load_bundle

ALL = ("ar", "lta", "oscc", "pnr")
SOUND = {"ar": 60, "lta": 18, "oscc": 60, "pnr": 30}
"""Training samples of the sound tree: two videos, 30 actions each."""


@pytest.fixture(autouse=True)
def _tiny_preset(monkeypatch):
    learning = EGO4D["paper"]
    short = {"epochs": 1, "batch_size": 16}
    tiny = replace(
        learning,
        model=replace(learning.model, hidden_size=8, interaction_layers=1),
        multitask=replace(learning.multitask, **short),
        skills={task: replace(fit, **short) for task, fit in learning.skills.items()},
    )
    monkeypatch.setattr(train_command, "EGO4D", {"paper": tiny})


@dataclass(frozen=True)
class Trains:
    """A defect that training, evaluation and scoring get over.

    Attributes:
        spoil: makes it.
        samples: task -> training samples that are left, where another number than of the sound.
        said: what a warning says.
        tasks: what is learnt.
    """

    spoil: Defect
    samples: dict[str, int]
    said: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ALL


@dataclass(frozen=True)
class Refused:
    """A defect that is refused before anything is trained.

    Attributes:
        spoil: makes it.
        said: what the message says: file, row, field.
        tasks: what is learnt.
    """

    spoil: Defect
    said: tuple[str, ...]
    tasks: tuple[str, ...] = ALL


def train(root, work, tasks=ALL):
    return train_command.main(
        ["--data", str(root), "--work", str(work), "--workers", "1", "--tasks", *tasks]
    )  # fmt: skip


def null_labels(tree):
    for split in ("train", "val"):
        for row in tree.actions(split)[::5]:
            row["verb_label"] = row["verb"] = None
        for row in tree.actions(split)[::10]:
            row["noun_label"] = row["noun"] = None
        for row in tree.changes(split)[::7]:
            row["state_change"] = None


def null_a_batch(tree):
    """More rows than a batch holds, so that some batches have no label of an output."""
    for row in tree.actions()[:50]:
        row["noun_label"] = row["noun"] = None


def null_at_random(seed):
    def spoil(tree):
        rng = random.Random(seed)
        for split in ("train", "val"):
            for row in tree.actions(split) + tree.changes(split):
                for name in {"verb_label", "noun_label", "state_change"} & row.keys():
                    row[name] = None if rng.random() < 0.4 else row[name]

    return spoil


def repeat_ids(tree):
    for split in ("train", "val"):
        rows = tree.changes(split)
        rows.append(dict(rows[0]))
        rows.append({**rows[1], "unique_id": rows[0]["unique_id"]})


def move_keyframe(tree):
    for split in ("train", "val"):
        tree.positives(split)[3]["parent_pnr_frame"] += 1000


def rename_keyframe(tree):
    for row in tree.positives()[:5]:
        row["pnr_frame"] = row.pop("parent_pnr_frame")


def drop_keyframe(tree):
    for row in tree.positives()[:5]:
        del row["parent_pnr_frame"]


def break_changes(tree):
    tree.files["fho_oscc-pnr_train.json"] = {"clips": [{"unique_id": 3}]}
    tree.files["fho_oscc-pnr_val.json"] = None


def short_clips(tree):
    rows = tree.actions("val")
    rows[:] = [row for row in rows if row["action_idx"] < 21]


def set_rows(rows, **values):
    for row in rows:
        row.update(values)


TRAINED = {
    "nothing": Trains(lambda tree: None, {}),
    "null labels": Trains(
        null_labels, {"ar": 54, "oscc": 51, "pnr": 25},
        ("12 of 60 rows have no verb_label", "fho_lta_train.json, row 0 ",
         "9 of 60 rows have no state_change", "fho_oscc-pnr_val.json, row 0 "),
    ),
    "null labels of whole batches": Trains(null_a_batch, {}, ("50 of 60 rows have no noun_label",)),
    "repeated ids": Trains(
        repeat_ids, {"oscc": 62, "pnr": 31},
        ("2 of 62 rows repeat the unique_id of an earlier row, 1 of them word for word",
         "fho_oscc-pnr_train.json, row 60 (unique_id 'vid-t0-0'"),
    ),
    "a keyframe outside its segment": Trains(
        move_keyframe, {"pnr": 29},
        ("1 of 60 rows have a change of state and no keyframe inside their segment",
         "fho_oscc-pnr_train.json, row 6 (unique_id 'vid-t0-6'",
         "expected a frame from 480 to 660"),
    ),
    "a keyframe that only pnr_frame tells": Trains(rename_keyframe, {}),
    "positives without a keyframe": Trains(drop_keyframe, {"pnr": 25}, ("5 of 60 rows",)),
    "a broken file of no task": Trains(break_changes, {}, tasks=("ar", "lta")),
    "clips too short for a task not learnt": Trains(short_clips, {}, tasks=("ar", "oscc")),
    "names without their synonyms": Trains(
        lambda tree: [row.update(verb=row["verb"].split("_(")[0]) for row in tree.actions()], {}
    ),
}  # fmt: skip

REFUSED = {
    "reversed verbs": Refused(
        lambda tree: tree.files["fho_lta_taxonomy.json"]["verbs"].reverse(),
        ("fho_lta_train.json, row 0 (clip_uid 'vid-t0-clip', action_idx 0): verb: expected",),
    ),
    "reversed nouns": Refused(
        lambda tree: tree.files["fho_lta_taxonomy.json"]["nouns"].reverse(),
        ("fho_lta_train.json, row ", ": noun: expected", "fho_lta_taxonomy.json"),
    ),
    "one row with another label's name": Refused(
        lambda tree: tree.actions("val")[4].update(verb="tug", verb_label=1),
        ("fho_lta_val.json, row 4 ", "verb: expected 'fold_(crease)'", "1 of 60 rows"),
    ),
    "no verb at all": Refused(
        lambda tree: set_rows(tree.actions(), verb_label=None),
        ("fho_lta_train.json: no sample of ar has a label of verb", "--tasks lta oscc pnr"),
    ),
    "no noun in val": Refused(
        lambda tree: set_rows(tree.actions("val"), noun_label=None),
        ("fho_lta_val.json: no sample of ar has a label of noun",),
    ),
    "no state in val": Refused(
        lambda tree: set_rows(tree.changes("val"), state_change=None),
        ("fho_oscc-pnr_val.json: no sample of oscc", "--tasks ar lta pnr"),
    ),
    "no keyframe in val": Refused(
        lambda tree: [row.pop("parent_pnr_frame") for row in tree.positives("val")],
        ("fho_oscc-pnr_val.json: no sample of pnr has a label of keyframe", "--tasks ar lta oscc"),
    ),
    "clips too short for a future": Refused(
        short_clips,
        (
            "fho_lta_val.json: no sample of lta (windows of 22 actions in a clip)",
            "--tasks ar oscc pnr",
        ),
    ),
    "no pair for the backpack": Refused(
        lambda tree: [row.update(verb_label=None) for row in tree.actions()],
        ("fho_lta_train.json: no action has both a verb_label and a noun_label",),
        tasks=("oscc", "pnr"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", TRAINED)
def test_training_gets_over_it(tmp_path, caplog, name, version):
    case, tree = TRAINED[name], EgoTree(version)
    case.spoil(tree)
    assert train(tree.write(tmp_path / "root"), tmp_path / "work", case.tasks) == 0
    for said in case.said:
        assert any(said in message for message in caplog.messages), caplog.messages
    assert len(set(caplog.messages)) == len(caplog.messages)
    manifest = load_bundle(tmp_path / "work" / "bundle").manifest
    assert set(manifest.skills) == set(case.tasks)
    expected = {task: (SOUND | case.samples)[task] for task in case.tasks}
    assert manifest.training["samples"]["train"] == expected
    assert f"--version {version}" in manifest.training["command"]
    assert "NaN" not in json.dumps(manifest.to_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "version"), [*((name, "v1") for name in TRAINED), ("null labels", "v2")]
)
def test_evaluation_and_scoring_get_over_it(tmp_path, capsys, name, version):
    case, tree = TRAINED[name], EgoTree(version)
    case.spoil(tree)
    root = tree.write(tmp_path / "root")
    assert train(root, tmp_path / "work", case.tasks) == 0
    trained = load_bundle(tmp_path / "work" / "bundle").manifest.metrics["val"]

    bundle = ["--bundle", str(tmp_path / "work" / "bundle")]
    data = [*bundle, "--data", str(root), "--features", FEATURES]
    assert evaluate([*data, "--json", str(tmp_path / "figures.json")]) == 0
    shown = json.loads((tmp_path / "figures.json").read_text())["val"]
    assert "NaN" not in json.dumps(shown)
    for task, figures in trained.items():
        assert shown["model"][task] == pytest.approx(figures, abs=1e-6)
    if name == "null labels":  # figures take seconds
        assert evaluate([*data, "--out", str(tmp_path / "report")]) == 0
        report = json.loads((tmp_path / "report" / "metrics.json").read_text())
        assert report["splits"]["val"].items() >= shown.items()

    asked = [task for task in case.tasks if task != "ar"]
    features = ["--features", str(root / version / FEATURES), "--device", "cpu"]
    capsys.readouterr()
    assert score([*bundle, "--annotations", str(root), *features, "--out", str(tmp_path / "out"),
                  "--tasks", ",".join(asked)]) == 0  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    entries = {"lta": 3, "oscc": ACTIONS, "pnr": ACTIONS}
    assert {line["task"]: line["entries"] for line in lines} == {t: entries[t] for t in asked}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_anything_is_trained(tmp_path, capsys, name, version):
    case, tree = REFUSED[name], EgoTree(version)
    case.spoil(tree)
    root = tree.write(tmp_path / "root")
    assert train(root, tmp_path / "work", case.tasks) == 1
    (message,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    for said in case.said:
        assert said in message
    assert not list((tmp_path / "work").rglob("mtl-*"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_labels_missing_at_random_never_stop_a_training(tmp_path, seed):
    tree = EgoTree()
    null_at_random(seed)(tree)
    assert train(tree.write(tmp_path / "root"), tmp_path / "work") == 0
    bundle = load_bundle(tmp_path / "work" / "bundle")
    seen = {
        (row["verb_label"], row["noun_label"])
        for row in tree.actions()
        if row["verb_label"] is not None and row["noun_label"] is not None
    }
    kept = (bundle.backpack[f"shared/{name}"].tolist() for name in ("verb_id", "noun_id"))
    assert set(zip(*kept, strict=True)) == seen
    assert "NaN" not in json.dumps(bundle.manifest.to_dict())


def test_a_test_segment_listed_twice_is_answered_once_and_two_of_one_id_are_refused(
    tmp_path, capsys, caplog
):
    tree = EgoTree()
    assert train(tree.write(tmp_path / "root"), tmp_path / "work", ("oscc", "pnr")) == 0
    rows = tree.changes("test_unannotated")
    rows.append(dict(rows[2]))
    root = tree.write(tmp_path / "root")
    command = [
        "--bundle", str(tmp_path / "work" / "bundle"), "--annotations", str(root), "--device",
        "cpu", "--features", str(root / "v1" / FEATURES), "--tasks", "oscc,pnr", "--out",
    ]  # fmt: skip
    assert score([*command, str(tmp_path / "out")]) == 0
    assert "fho_oscc-pnr_test_unannotated.json, row 30 (unique_id 'vid-u0-2')" in caplog.text
    answers = json.loads((tmp_path / "out" / "oscc.json").read_text())
    assert [a["unique_id"] for a in answers] == [f"vid-u0-{i}" for i in range(ACTIONS)]
    rows.append({**rows[3], "unique_id": "vid-u0-2"})
    tree.write(tmp_path / "root")
    assert score([*command, str(tmp_path / "again")]) == 2
    said = capsys.readouterr().err
    assert "fho_oscc-pnr_test_unannotated.json, row 31 (unique_id 'vid-u0-2')" in said
    assert "row 2's" in said


def test_a_bundle_of_version_1_answers_the_test_file_of_version_2(tmp_path):
    root = EgoTree("v1").write(tmp_path / "root")
    assert train(root, tmp_path / "work", ("lta", "oscc")) == 0
    EgoTree("v2").write(root)
    out = {}
    for version in VERSIONS:
        out[version] = tmp_path / version
        assert score([
            "--bundle", str(tmp_path / "work" / "bundle"), "--annotations", str(root),
            "--version", version, "--features", str(root / "v1" / FEATURES), "--device", "cpu",
            "--tasks", "lta,oscc", "--out", str(out[version]),
        ]) == 0  # fmt: skip
    for name in ("lta.json", "oscc.json"):
        assert (out["v1"] / name).read_bytes() == (out["v2"] / name).read_bytes()
