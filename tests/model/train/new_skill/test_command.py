"""python -m model.train --learn, on a tiny bundle with random features."""

import csv
import json
from dataclasses import asdict, replace

import pytest

from extract.features.ids import id_of
from extract.features.store import FeatureStore
from model.nn.few_labels.voters import VOTERS
from model.predict.predictor import Predictor
from tests.extract.support.clips import write_numbered
from tests.model.train.new_skill.learning import answer, learn
from tests.support.own_tasks import KINDS, LABELS, SEGMENTS, SPLIT_OF, write_labels
from weights.bundle import load_bundle

FOUR = frozenset({"ar", "lta", "oscc", "pnr"})


@pytest.fixture(scope="module")
def all_kinds(folder):
    """Folder of a bundle that learnt four tasks, one after the other."""
    bundle = folder / "bundle"
    for name in KINDS:
        assert learn(folder, name, bundle=bundle) == 0
        bundle = folder / f"with-{name}"
    return bundle


@pytest.mark.slow
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
        weights = predictor.manifest.skills[name]["voters"]
        assert set(segment.evidence.votes[f"{name}.{name}"]) == set(weights) <= set(VOTERS)
        assert set(segment.evidence.neighbours[name]) == FOUR
        for example in segment.evidence.examples[name]:
            assert example.video in ("a", "b")  # the training videos
            assert (example.start_s, example.end_s) in SEGMENTS
            assert example.label in LABELS
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
        assert "Cross-validated: " in bundle.card
        assert "| voter | weight | |" in bundle.card
        assert manifest.training["skills"][name]["fraction"] == 1.0
        assert set(manifest.metrics["val"][name]) & {"top1", "error_s"}
        assert set(manifest.baselines["test"]["frequency"][name]) & {"top1", "error_s"}
        assert f"{name}.{name}" in manifest.calibration
    assert manifest.label_spaces["hand"] == sorted(LABELS)
    assert manifest.training["samples"]["train"] == {
        "hand": 18, "mood": 18, "drop": 18, "next-room": 10,
    }  # fmt: skip
    assert not list((folder / "work").glob("*.checkpoint"))


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
    said = capsys.readouterr().err
    assert "one file named a, found a.mkv and a.mp4" in said
    assert "one file named d, found none" in said


def test_an_export_of_label_studio_is_learnt_from_like_the_same_labels(folder, tmp_path, capsys):
    """Regions count frames from 1, here ten a second; there are no splits in an export."""
    lines = write_labels(folder, "mood").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    tasks = [
        {
            "id": number,
            "data": {"video": f"/data/upload/{video}.mp4"},
            "annotations": [{"result": [region(row) for row in rows if row["video"] == video]}],
        }
        for number, video in enumerate(SPLIT_OF)
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    export = f"label-studio:{tmp_path / 'export.json'}"
    assert learn(folder, "mood", "--labels", export, "--fps", "10", out=tmp_path / "one") == 0
    assert (
        learn(folder, "mood", "--labels", str(tmp_path / "labels.csv"), out=tmp_path / "two") == 0
    )
    one, two = (load_bundle(tmp_path / name).manifest for name in ("one", "two"))
    assert one.files["skill-mood.safetensors"] == two.files["skill-mood.safetensors"]
    assert one.skills["mood"]["examples"] == two.skills["mood"]["examples"]
    capsys.readouterr()
    assert learn(folder, "drop", "--labels", export, "--fps", "10") == 2
    assert "has stretches of time" in capsys.readouterr().err
    assert learn(folder, "mood", "--fps", "10") == 2
    assert "is in seconds: leave it out" in capsys.readouterr().err


def region(row):
    bounds = {"start": 10 * float(row["start_s"]) + 1, "end": 10 * float(row["end_s"])}
    value = {"ranges": [bounds], "timelinelabels": [row["label"]]}
    place = f"{row['video']}-{row['start_s']}"
    return {"id": place, "from_name": "what", "type": "timelinelabels", "value": value}


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
