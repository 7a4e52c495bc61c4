"""The library call, the command and the process teach the same skill."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from extract.features.track import EncoderId
from model.data.tables.label_rows import rows_from_json
from model.data.task_file import parse_task
from model.errors import FeatureMismatch, LabelsInvalid, TaskInvalid
from model.predict.predictor import Predictor
from model.train.new_skill.adding import add_skill, add_version, skill_files
from model.train.new_skill.teaching import teach
from model.train.new_skill.teaching.__main__ import main as process
from tests.model.train.new_skill.learning import answer, learn
from tests.model.train.new_skill.teaching.made import (
    clips,
    label_values,
    task_values,
    write_request,
)
from weights.bundle import load_bundle, save_bundle

ALL = ("train", "val", "test")


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_bundle(folder / "bundle")


def taught(folder, predictor, name="mood", *, splits=ALL, **more):
    rows = rows_from_json(label_values(folder, name, splits=splits))
    return teach(predictor, parse_task(task_values(name)), rows, clips(folder), **more)


def same_tensors(one, two):
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], atol=1e-6, rtol=1e-6)


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", ["mood", "hand"])
def test_library_command_and_process_teach_the_same_skill(folder, predictor, tmp_path, name):
    own = taught(folder, predictor, name)
    tensors, entry = skill_files(own.own)
    assert learn(folder, name, out=tmp_path / "by-command") == 0
    command = load_bundle(tmp_path / "by-command")
    values = {"task": task_values(name), "labels": label_values(folder, name, splits=ALL)}
    place = write_request(tmp_path / "request", folder, action="teach", **values)
    assert process([str(place)]) == 0
    same_tensors(tensors, command.skills[name])
    same_tensors(tensors, load((place / "result" / "skill.safetensors").read_bytes()))
    reports = [own.report, json.loads((place / "result" / "report.json").read_text())]
    assert reports[0] == reports[1]
    assert json.loads((place / "result" / "entry.json").read_text()) == json.loads(
        json.dumps(entry)
    )
    metrics = command.manifest.metrics
    assert own.report["held_out_by"] == "test"
    assert own.report["accuracy"]["share"] == pytest.approx(metrics["test"][name]["top1"], abs=1e-6)
    assert entry["metrics"] == metrics_of(metrics, name)
    assert command.manifest.skills[name] == entry["skill"]


def metrics_of(metrics, name):
    return {split: tasks[name] for split, tasks in metrics.items() if name in tasks}


def test_a_version_from_its_files_makes_the_same_bundle_to_the_bit(folder, predictor, tmp_path):
    base = load_bundle(folder / "bundle")
    one, two = taught(folder, predictor), taught(folder, predictor, "hand")
    whole = add_skill(add_skill(base, one.own), two.own)
    folded = base
    for own in (one.own, two.own):
        tensors, entry = skill_files(own)
        folded = add_version(folded, load(save(tensors)), json.loads(json.dumps(entry)))
    for place, bundle in (("whole", whole), ("folded", folded)):
        save_bundle(bundle, tmp_path / place)
    files = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert "skill-mood.safetensors" in files
    for name in files:
        expected = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "folded" / name).read_bytes() == expected
    with pytest.raises(TaskInvalid, match="has a 'mood' already"):
        add_version(folded, *skill_files(one.own))


def test_a_threshold_says_which_answers_are_certain_and_changes_nothing_else(
    folder, predictor, tmp_path
):
    base = load_bundle(folder / "bundle")
    files = skill_files(taught(folder, predictor).own)
    places = {threshold: tmp_path / f"by-{threshold}" for threshold in (None, 0.0, 0.6, 1.0)}
    segments = {}
    for threshold, place in places.items():
        save_bundle(add_version(base, *files, threshold=threshold), place)
        segments[threshold] = answer(place, {"mood"}).segments
    plain = [segment.skills["mood"] for segment in segments.pop(None)]
    assert {own.is_certain for own in plain} == {None}
    for threshold, found in segments.items():
        for before, segment in zip(plain, found, strict=True):
            after = segment.skills["mood"]
            assert after.labels == before.labels
            assert after.is_certain is (before.labels[0].probability >= threshold)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(TaskInvalid, match="threshold: expected a probability"):
            add_version(base, *files, threshold=wrong)


def test_rows_without_a_split_are_cross_validated(folder, predictor):
    report = taught(folder, predictor, splits=("train",)).report
    assert report["held_out_by"] == "cross-validation"
    assert report["words"].startswith("Cross-validated: ")
    assert sum(report["count"].values()) == report["accuracy"]["held_out"] == 18
    head = taught(folder, predictor, splits=("train",), method="head").report
    assert [voter["name"] for voter in head["voters"]] == ["own"]
    assert head["accuracy"]["right"] == head["accuracy"]["head_right"]
    assert head["accuracy"]["head_right"] == report["accuracy"]["head_right"]


def test_labels_that_do_not_fit_their_clips_are_named_by_pointer(folder, predictor):
    values = label_values(folder, "mood")
    values[3]["end_s"] = 99.0
    values[7]["video"] = "z"

    def attempt(rows, **more):
        task = parse_task(task_values("mood") | more)
        with pytest.raises(LabelsInvalid) as caught:
            teach(predictor, task, rows_from_json(rows), clips(folder))
        return dict(caught.value.errors)

    assert attempt(values) == {"/labels/7/video": "expected one of a, b, c, d, got 'z'"}
    values[7]["video"] = "a"
    assert list(attempt(values)) == ["/labels/3/end_s"]
    values[3]["end_s"] = values[3]["start_s"] + 1
    assert list(attempt([v | {"label": "calm"} for v in values])) == ["/labels"]
    assert "no training row has the label 'x'" in attempt(values, labels=["x", "y"])["/labels"]


def test_what_cannot_be_taught_is_refused(folder, predictor):
    rows = rows_from_json(label_values(folder, "mood"))
    tracks = clips(folder)
    drop = parse_task({"name": "drop", "kind": "localise"})
    with pytest.raises(TaskInvalid, match="kind: expected segment or graph, got localise"):
        teach(predictor, drop, rows, tracks)
    mood = parse_task(task_values("mood"))
    with pytest.raises(TaskInvalid, match="method: expected auto or head"):
        teach(predictor, mood, rows, tracks, method="egopack")
    with pytest.raises(TaskInvalid, match="none_label: expected one of the labels"):
        teach(predictor, mood, rows, tracks, none_label="nothing")
    with pytest.raises(TaskInvalid, match="has a 'verb' already"):
        teach(predictor, replace(mood, spec=replace(mood.spec, name="verb")), rows, tracks)
    with pytest.raises(LabelsInvalid, match="/labels: expected"):
        teach(predictor, mood, [], tracks)
    other = {name: replace(t, encoder=EncoderId("other", "f" * 64)) for name, t in tracks.items()}
    with pytest.raises(FeatureMismatch, match="a: this bundle's encoder is"):
        teach(predictor, mood, rows, other)
