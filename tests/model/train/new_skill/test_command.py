"""python -m model.train --learn, on a tiny bundle with random features."""

import csv
import json
from dataclasses import asdict, replace

import pytest

from extract.features.ids import id_of
from extract.features.store import FeatureStore
from model.predict.predictor import Predictor, PredictRequest
from model.train.__main__ import main as train
from tests.extract.clips import write_numbered
from tests.factories import make_bundle
from tests.own_tasks import (
    KINDS,
    LABELS,
    SEGMENTS,
    SPLIT_OF,
    write_features,
    write_labels,
    write_task,
)
from weights.bundle import load_bundle, save_bundle

FOUR = frozenset({"ar", "lta", "oscc", "pnr"})


def learn(folder, name, *more, bundle=None, out=None, epochs=1):
    """Runs the command on files under `folder`; returns its exit status."""
    return train(
        [
            "--learn", str(write_task(folder, name, epochs=epochs)),
            "--labels", str(write_labels(folder, name)),
            "--features", str(folder / "features"),
            "--bundle", str(bundle or folder / "bundle"),
            "--out", str(out or folder / f"with-{name}"),
            "--work", str(folder / "work"),
            *more,
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learn")
    save_bundle(make_bundle(), folder / "bundle")
    write_features(folder / "features", Predictor.from_bundle(folder / "bundle").encoder)
    return folder


@pytest.fixture(scope="module")
def all_kinds(folder):
    """Folder of a bundle that learnt four tasks, one after the other."""
    bundle = folder / "bundle"
    for name in KINDS:
        assert learn(folder, name, bundle=bundle) == 0
        bundle = folder / f"with-{name}"
    return bundle


def answer(bundle, tasks, video="c"):
    predictor = Predictor.from_bundle(bundle, search="torch")
    folder = bundle.parent / "features"
    track = write_features(folder, predictor.encoder).read(video)
    request = PredictRequest(track, frozenset(tasks), segments=tuple(SEGMENTS))
    return predictor.predict([request])[0]


def test_nothing_that_the_bundle_had_is_changed(folder, all_kinds):
    before, after = load_bundle(folder / "bundle"), load_bundle(all_kinds)
    for name, facts in before.manifest.files.items():
        assert name == "MODEL_CARD.md" or after.manifest.files[name] == facts
    new = set(after.manifest.files) - set(before.manifest.files)
    assert new == {f"skill-{name}.safetensors" for name in KINDS}
    old, now = before.manifest.to_dict(), after.manifest.to_dict()
    for key in ("name", "encoder", "model", "backbones"):
        assert now[key] == old[key]
    for key in ("skills", "label_spaces", "calibration"):
        assert {k: now[key][k] for k in old[key]} == old[key]


def test_the_four_answers_do_not_move_by_a_bit(folder, all_kinds):
    for video in SPLIT_OF:
        before, after = (answer(b, FOUR, video) for b in (folder / "bundle", all_kinds))
        assert asdict(before) == asdict(after)


def test_every_kind_answers_beside_the_four_from_one_pass(all_kinds):
    predictor = Predictor.from_bundle(all_kinds)
    assert set(predictor.tasks) == FOUR | set(KINDS)
    found = answer(all_kinds, predictor.tasks)
    segment = found.segments[2]
    assert segment.ar is not None
    assert set(segment.skills) == {"hand", "mood", "drop"}
    for name in ("hand", "mood"):
        assert {r.label for r in segment.skills[name].labels} == set(LABELS)
        assert sum(r.probability for r in segment.skills[name].labels) == pytest.approx(1, abs=1e-5)
        assert set(segment.evidence.votes[f"{name}.{name}"]) == {"own", *FOUR}
        assert set(segment.evidence.neighbours[name]) == FOUR
    instant = segment.skills["drop"].instant
    assert len(instant.scores) == 8
    place = instant.scores.index(max(instant.scores)) / 8
    assert instant.time_s == pytest.approx(SEGMENTS[2][0] + 6.0 * place)
    forecast = found.skills["next-room"]
    assert forecast.observed == [7, 8]
    assert [len(step) for step in forecast.steps] == [2, 2, 2]
    assert set(forecast.evidence.votes) == {"next-room.next-room"}


def test_the_four_answers_are_the_same_whoever_answers_beside_them(all_kinds):
    alone, beside = (answer(all_kinds, tasks) for tasks in (FOUR, FOUR | set(KINDS)))
    for ours, theirs in zip(alone.segments, beside.segments, strict=True):
        assert ours.pnr.scores == pytest.approx(theirs.pnr.scores, abs=1e-6)
        assert [r.id for r in ours.ar.verb] == [r.id for r in theirs.ar.verb]


def test_the_figures_in_the_manifest_are_those_of_the_served_answers(folder, all_kinds):
    metrics = load_bundle(all_kinds).manifest.metrics
    rows = {}
    for name in KINDS:
        with (folder / f"{name}.csv").open(newline="") as file:
            rows[name] = list(csv.DictReader(file))
    for split, video in (("val", "c"), ("test", "d")):
        found = answer(all_kinds, KINDS, video)
        for name in ("hand", "mood"):
            truth = [r["label"] for r in rows[name] if r["video"] == video]
            right = [
                s.skills[name].labels[0].label == label
                for s, label in zip(found.segments, truth, strict=True)
            ]
            assert metrics[split][name]["top1"] == pytest.approx(sum(right) / 9)
        times = [float(r["time_s"]) for r in rows["drop"] if r["video"] == video]
        errors = [
            abs(s.skills["drop"].instant.time_s - t)
            for s, t in zip(found.segments, times, strict=True)
        ]
        assert metrics[split]["drop"]["error_s"] == pytest.approx(sum(errors) / 9, abs=1e-5)
        assert metrics[split]["next-room"]["samples"] == 5  # windows of 5 in 9 rows


def test_manifest_and_card_tell_how_each_skill_was_learnt(folder, all_kinds):
    bundle = load_bundle(all_kinds)
    manifest = bundle.manifest
    assert bundle.card.startswith(load_bundle(folder / "bundle").card)
    for name in KINDS:
        assert f"## Skill `{name}`, added later" in bundle.card
        assert manifest.training["skills"][name]["seed"] == 0
        assert manifest.training["skills"][name]["fraction"] == 1.0
        assert set(manifest.metrics["val"][name]) & {"top1", "error_s"}
        assert set(manifest.baselines["test"]["frequency"][name]) & {"top1", "error_s"}
        assert f"{name}.{name}" in manifest.calibration
    assert manifest.label_spaces["hand"] == sorted(LABELS)
    assert manifest.training["samples"]["train"] == {
        "hand": 18, "mood": 18, "drop": 18, "next-room": 10,
    }  # fmt: skip
    assert not list((folder / "work").glob("*.checkpoint"))


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


def test_a_name_that_the_bundle_knows_is_refused(folder, all_kinds, capsys):
    assert learn(folder, "hand", bundle=all_kinds, out=folder / "twice") == 2
    assert "has a 'hand' already" in capsys.readouterr().err
    assert not (folder / "twice").exists()


def test_videos_that_are_nowhere_are_named(folder, tmp_path, capsys):
    more = ["--features", str(tmp_path)]
    assert learn(folder, "mood", *more) == 2
    assert "4 of 4 videos have no features" in capsys.readouterr().err
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.mkv").touch()
    assert learn(folder, "mood", *more, "--videos", str(tmp_path)) == 2
    assert "one file named a " in capsys.readouterr().err


def test_videos_of_any_name_are_learnt_from_like_others(folder, tmp_path, capsys):
    names = {"a": "Küche 1", "b": "a [b]", "c": "-x", "d": "plain"}
    store = FeatureStore(folder / "features")
    for video, name in names.items():
        FeatureStore(tmp_path / "odd").write(replace(store.read(video), video_id=id_of(name)))
    text = write_labels(folder, "mood").read_text().splitlines()
    lines = [text[0], *(names[line[0]] + line[1:] for line in text[1:])]
    (tmp_path / "odd.csv").write_text("\n".join(lines))
    out = tmp_path / "with-mood"
    more = ["--features", str(tmp_path / "odd"), "--labels", str(tmp_path / "odd.csv")]
    assert learn(folder, "mood", *more, out=out) == 0
    assert learn(folder, "mood", out=folder / "plain-names") == 0
    found, expected = (load_bundle(made).manifest.metrics for made in (out, folder / "plain-names"))
    assert found == expected


def test_videos_that_cannot_be_read_do_not_keep_the_others_from_it(folder, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    for video in "abd":
        (videos / f"{video}.mp4").write_bytes(b"nothing")
    write_numbered(videos / "c.mp4", 1200)
    more = ["--features", str(tmp_path / "features"), "--videos", str(videos)]
    assert learn(folder, "mood", *more, out=tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "3 of 4 videos cannot be read" in told
    assert [video in told for video in ("a.mp4", "b.mp4", "d.mp4", "c.mp4")] == [True] * 3 + [False]
    assert FeatureStore(tmp_path / "features").video_ids() == ["c"]


def test_a_folder_that_is_no_bundle_is_not_overwritten(folder, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert learn(folder, "mood", out=tmp_path) == 2
    assert "exists and is no bundle" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_wrong_share_is_refused_by_the_command_line(folder):
    with pytest.raises(SystemExit):
        learn(folder, "mood", "--fraction", "0")


def test_comparing_prints_both_ways_for_every_share_and_makes_no_run_twice(folder, capsys):
    out = folder / "runs.json"
    command = [
        str(write_task(folder, "mood")), "--labels", str(write_labels(folder, "mood")),
        "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        "--work", str(folder / "work"), "--seeds", "2", "--out", str(out),
    ]  # fmt: skip
    assert train(["compare", *command, "--fraction", "0.2"]) == 0
    first = json.loads(out.read_text())["runs"]
    assert len(first) == 4
    first[0]["metrics"]["val"]["top1"] = 5.0  # a run that was made again would not say so
    out.write_text(json.dumps({**json.loads(out.read_text()), "runs": first}))
    capsys.readouterr()
    assert train(["compare", *command, "--fraction", "0.2", "--fraction", "1"]) == 0
    runs = json.loads(out.read_text())["runs"]
    assert runs[:4] == first
    assert len(runs) == 8
    table = capsys.readouterr().out
    assert table.count("| top1 ↑ |") == 4  # two shares on val and on test
    assert "100% (18)" in table
