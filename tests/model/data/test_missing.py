"""Videos that are gone: refused with what fetches them, filled in, or left out; always named."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from extract.encoders.load import encoder_from_spec
from extract.features.extractor import Extractor
from extract.features.store import FeatureStore
from model.data.annotations import FEATURES
from model.errors import AnnotationInvalid, FeaturesMissing
from model.evaluate.__main__ import main as evaluate
from model.score.__main__ import main as score
from model.train.__main__ import main as train
from model.train.datasets.ego4d import prepare_ego4d
from model.train.options import TrainingOptions
from tests.extract.support.clips import noisy_frames, write_clip
from tests.model.support.feature_tree import SPLITS, write_tree
from tests.support.factories import make_bundle
from weights.bundle import save_bundle

TASKS = ("lta", "oscc", "pnr")
WINDOWS, SEGMENTS = 5, 26  # of a test video


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


@pytest.fixture(scope="module")
def bundle_at(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    save_bundle(bundle, folder)
    return folder


@pytest.fixture
def tree(tmp_path, bundle):
    return write_tree(tmp_path / "ego4d", bundle)


@pytest.fixture
def answer(tree, bundle_at, tmp_path):
    """Runs model.score; returns its exit status."""

    def run(*more, bundle=bundle_at):
        return score(
            ["--bundle", str(bundle), "--annotations", str(tree.root), "--features",
             str(tree.features), "--out", str(tmp_path / "out"), "--observed", "2",
             "--device", "cpu", *map(str, more)]
        )  # fmt: skip

    return run


def files(folder):
    return {task: json.loads((folder / f"{task}.json").read_text()) for task in TASKS}


def by_id(task, file):
    return file if task == "lta" else {row["unique_id"]: row for row in file}


def test_one_missing_video_is_refused_with_the_command_that_fetches_it(tree, answer, capsys):
    tree.file("y").unlink()
    assert answer() == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{tree.features} has no features of 1 of 2 videos, y among them" in message
    assert (
        f"ego4d --output_directory={tree.root} --datasets {FEATURES} --benchmarks FHO --version v1"
    ) in message
    assert "--missing fill" in message
    assert "--missing skip" in message


def test_the_command_fetches_what_the_bundle_was_trained_on(tree, answer, capsys, tmp_path, bundle):
    """Features lie in a folder of any name; the bundle knows the set by its own."""
    encoder = {"name": "slowfast8x8_r101_k400", "kind": "features"}
    released = replace(bundle, manifest=replace(bundle.manifest, encoder=encoder), encoder={},
                       encoder_onnx=b"")  # fmt: skip
    save_bundle(released, tmp_path / "released")
    tree.file("y").unlink()
    moved = tree.features.rename(tmp_path / "features")
    assert answer("--features", moved, bundle=tmp_path / "released") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "--datasets slowfast8x8_r101_k400 --benchmarks FHO" in message
    assert f"then --features {tree.root / 'v1' / 'slowfast8x8_r101_k400'}" in message


def test_a_bundle_with_an_encoder_asks_for_the_videos_alone(tree, answer, capsys, tmp_path):
    tree.file("y").unlink()
    moved = tree.features.rename(tmp_path / "features")
    assert answer("--features", moved) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "--datasets full_scale --video_uids y --version v1" in message
    assert f"then add --videos {tree.root}" in message


def test_filling_answers_for_missing_videos_alone(tree, answer, capsys, tmp_path):
    assert answer("--out", tmp_path / "whole") == 0
    whole = files(tmp_path / "whole")
    tree.file("y").unlink()
    capsys.readouterr()
    assert answer("--missing", "fill") == 0
    said = capsys.readouterr()
    lines = {line["task"]: line for line in map(json.loads, said.out.splitlines())}
    for task, filled in files(tmp_path / "out").items():
        count = WINDOWS if task == "lta" else SEGMENTS
        assert lines[task]["entries"] == 2 * count
        assert lines[task]["filled"]["videos"] == ["y"]
        assert lines[task]["filled"]["entries"] == count
        assert f"{task}: {count} answers are filled with a prior" in said.err
        ours, expected = by_id(task, filled), by_id(task, whole[task])
        assert list(ours) == list(expected)
        for name, entry in ours.items():
            assert (entry == expected[name]) >= name.startswith("x-")
            if name.startswith("y-") and task == "pnr":
                assert entry["pnr_frame"] == 90  # the middle of 180
            if name.startswith("y-") and task == "oscc":
                assert entry["state_change"] is False  # this bundle does not know more
    assert any(
        by_id("lta", whole["lta"])[i] != e for i, e in files(tmp_path / "out")["lta"].items()
    )


def test_a_video_that_comes_back_is_answered_instead(tree, answer, tmp_path):
    assert answer("--out", tmp_path / "whole") == 0
    rows = tree.file("y").read_bytes()
    tree.file("y").unlink()
    assert answer("--missing", "fill") == 0
    assert files(tmp_path / "out") != files(tmp_path / "whole")
    tree.file("y").write_bytes(rows)
    assert answer("--missing", "fill") == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_skipping_leaves_out_the_missing_videos_entries(tree, answer, capsys, tmp_path):
    tree.file("y").unlink()
    assert answer("--missing", "skip") == 0
    said = capsys.readouterr()
    for line in map(json.loads, said.out.splitlines()):
        count = WINDOWS if line["task"] == "lta" else SEGMENTS
        assert line["entries"] == count
        assert line["skipped"] == {"videos": ["y"], "entries": count}
    assert "pnr: 26 answers are left out: no features of 1 videos, y" in said.err
    for task, file in files(tmp_path / "out").items():
        assert all(name.startswith("x-") for name in by_id(task, file))
    made = [str(tmp_path / "out" / f"{task}.json") for task in TASKS]
    check = ["--annotations", str(tree.root), "--observed", "2", "--check", *made]
    assert score(check) == 1  # the challenge asks for more
    assert "missing: y-0" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["fill", "skip"])
def test_where_every_video_is_missing_nothing_is_written(tree, answer, capsys, tmp_path, missing):
    for video in SPLITS["test_unannotated"]:
        tree.file(video).unlink()
    assert answer("--missing", missing) == 2
    assert "Where all are missing" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_broken_file_is_no_missing_one(tree, answer, capsys):
    tree.file("y").write_bytes(b"")
    assert answer("--missing", "fill") == 2
    assert "y.pt: not a tensor file" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluation_names_what_it_leaves_out(tree, bundle_at, tmp_path, capsys, caplog):
    tree.file("a").unlink()
    command = ["--bundle", str(bundle_at), "--data", str(tree.root), "--features", FEATURES,
               "--json", str(tmp_path / "m.json"), "--out", str(tmp_path / "report")]  # fmt: skip
    assert evaluate(command) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "no feature file of video a" in message
    assert f"--datasets {FEATURES} --benchmarks FHO" in message
    assert "--missing skip leaves out their samples" in message
    assert evaluate([*command, "--missing", "skip"]) == 0
    assert "1 videos have no features, their samples are left out: a" in caplog.text
    found = json.loads((tmp_path / "m.json").read_text())["val"]
    assert found["videos_without_features"] == ["a"]
    assert found["model"]["oscc"]["samples"] == SEGMENTS
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert report["splits"]["val"]["videos_without_features"] == ["a"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "the samples of 1 videos without features are left out: a." in page


@pytest.mark.parametrize("videos", [["t0"], ["t0", "t1"]])
def test_training_refuses_or_leaves_out(tree, tmp_path, capsys, videos):
    whole = prepared(tree, tmp_path)
    for video in videos:
        tree.file(video).unlink()
    fresh = tmp_path / "other"
    assert train(["--data", str(tree.root), "--method", "mlp", "--work", str(fresh)]) == 1
    assert "--missing skip leaves out their samples" in capsys.readouterr().err
    if len(videos) == 2:  # of a split nothing is left
        with pytest.raises(FeaturesMissing, match="video t0 and 1 more"):
            prepared(tree, fresh, missing="skip")
        return
    some = prepared(tree, fresh, missing="skip")
    assert some.facts["videos_without_features"] == ["t0"]
    assert "videos_without_features" not in whole.facts
    assert some.key != whole.key
    assert len(some.samples["train"]["oscc"]) == SEGMENTS
    assert len(whole.samples["train"]["oscc"]) == 2 * SEGMENTS
    for task, samples in whole.samples["val"].items():
        assert some.samples["val"][task].names == samples.names


def hide_changes(tree, split, video):
    """Leaves no label of a change of state in a video."""
    path = tree.root / "v1" / "annotations" / f"fho_oscc-pnr_{split}.json"
    rows = json.loads(path.read_text())["clips"]
    for row in rows:
        if row["video_uid"] == video:
            row["state_change"] = None
    path.write_text(json.dumps({"clips": rows}))


def test_training_ends_where_no_label_is_left_of_a_video_with_features(tree, tmp_path):
    hide_changes(tree, "train", "t1")
    assert len(prepared(tree, tmp_path).samples["train"]["oscc"]) == SEGMENTS
    tree.file("t0").unlink()
    said = r"no sample of oscc of a video that has features \(1 have none\) has a label"
    with pytest.raises(AnnotationInvalid, match=said):
        prepared(tree, tmp_path / "other", missing="skip")
    some = prepared(tree, tmp_path / "other", missing="skip", tasks=("ar", "lta"))
    assert len(some.samples["train"]["ar"]) == SEGMENTS


def test_evaluation_does_not_score_a_task_whose_labels_are_left_out(
    tree, bundle_at, tmp_path, capsys
):
    hide_changes(tree, "val", "b")
    tree.file("a").unlink()
    command = ["--bundle", str(bundle_at), "--data", str(tree.root), "--features", FEATURES,
               "--json", str(tmp_path / "m.json"), "--missing", "skip"]  # fmt: skip
    assert evaluate(command) == 0
    assert "val has no sample of oscc, pnr: not scored" in capsys.readouterr().err
    found = json.loads((tmp_path / "m.json").read_text())["val"]
    assert set(found["model"]) == {"ar", "lta"}
    assert found["videos_without_features"] == ["a"]


def prepared(tree, work, **more):
    options = {"version": None, "features": None, "missing": "refuse", "lta_windows": "current",
               "tasks": tuple(TASKS), "data": tree.root, **more}  # fmt: skip
    return prepare_ego4d(TrainingOptions(**options), packed_under=work, progress=False)


@pytest.fixture(scope="module")
def two_eyes(tmp_path_factory):
    """A video of the test split with one eye, and with another one at its right."""
    folder = tmp_path_factory.mktemp("eyes")
    left, right = (noisy_frames(2240, 32, 24, seed) for seed in (1, 2))
    both = [np.hstack(pair) for pair in zip(left, right, strict=True)]
    lossless = {"options": {"qp": "0", "preset": "ultrafast"}, "pix_fmt": "yuv444p"}
    write_clip(folder / "mono.mp4", left, **lossless)
    write_clip(folder / "stereo.mp4", both, **lossless)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("by", ["score", "evaluate"])
@pytest.mark.parametrize("is_stereo", [True, False])
def test_the_left_half_of_a_stereo_video_is_used(
    tree, bundle, bundle_at, answer, two_eyes, by, is_stereo, tmp_path
):
    """The videos lie where the client puts them, which of them are stereo it says in the root."""
    videos = SPLITS["test_unannotated" if by == "score" else "val"]
    folder = tree.root / "v1" / "full_scale"
    folder.mkdir()
    for video in videos:
        (folder / f"{video}.mp4").symlink_to(two_eyes / "stereo.mp4")
    tree.state_facts(dict.fromkeys(videos, 2240), is_stereo=is_stereo)
    if by == "score":
        store = FeatureStore(tmp_path / "made")
        more = ("--tasks", "oscc", "--videos", tree.root)
        assert answer("--features", store.root, *more) == 0
    else:
        assert evaluate(["--bundle", str(bundle_at), "--data", str(tree.root)]) == 0
        (place,) = (p for p in (tree.root / "v1").iterdir() if p.name.startswith("tiny-"))
        store = FeatureStore(place)
    encoder = encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
    mono = Extractor(encoder).from_file(two_eyes / "mono.mp4").features
    assert store.video_ids() == sorted(videos)
    assert torch.equal(store.read(videos[0]).features, mono) == is_stereo


def test_a_video_that_is_nowhere_is_missed_before_another_is_decoded(
    tree, answer, tmp_path, capsys
):
    folder = tree.root / "v1" / "full_scale"
    folder.mkdir()
    (folder / "x.mp4").write_bytes(b"never looked at")
    assert answer("--features", tmp_path / "none", "--videos", tree.root) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "no features of 1 of 2 videos, y among them" in message
    assert f"there is no {tree.root / 'y.mp4'} or {folder / 'y.mp4'}" in message


def test_a_video_that_cannot_be_read_is_named(tree, answer, tmp_path, capsys):
    for video in SPLITS["test_unannotated"]:
        (tree.root / f"{video}.mp4").write_bytes(b"no video at all")
    assert answer("--features", tmp_path / "none", "--videos", tree.root) == 2
    message = capsys.readouterr().err
    assert "error: 2 of 2 videos cannot be read" in message
    for video in SPLITS["test_unannotated"]:
        assert f"\n  {tree.root / video}.mp4: not-a-video" in message


def test_features_are_not_made_to_lie_beside_anothers(tree, answer, capsys):
    """Said before the first video is decoded: one folder holds one set."""
    tree.file("y").unlink()
    (tree.root / "y.mp4").write_bytes(b"never looked at")
    assert answer("--videos", tree.root) == 2
    assert "expected what the others are" in capsys.readouterr().err
