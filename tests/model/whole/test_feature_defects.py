"""One defect in the features of a tiny Ego4D tree: every command that reads them names the file.

What a command refuses it refuses before it trains or answers.
"""

import shutil
from dataclasses import replace

import pytest
import torch

from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_check import LONGEST_REST
from extract.features.track_file import track_bytes
from extract.windows import count_windows
from model.data.annotations import FEATURES
from model.evaluate.__main__ import main as evaluate
from model.predict.predictor import Predictor
from model.score.__main__ import main as score
from model.score.answering import ChallengeAnswerer
from model.train import pipeline
from model.train.__main__ import main as train
from tests.model.support.feature_tree import FRAMES, VIDEOS, write_tree
from tests.support.factories import make_bundle, make_track
from tests.support.own_tasks import write_features, write_labels, write_task
from weights.bundle import load_bundle, save_bundle

ONE_OF = {"train": "t1", "evaluate": "b", "evaluate packed": "b", "score": "y"}
"""Command -> a video that it reads, not the first one."""


@pytest.fixture(scope="module")
def bundle_at(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    save_bundle(make_bundle(), folder)
    return folder


@pytest.fixture
def tree(tmp_path, bundle_at):
    return write_tree(tmp_path / "ego4d", load_bundle(bundle_at))


@pytest.fixture
def run(tree, bundle_at, monkeypatch, tmp_path):
    """Runs a command that must end before it trains or answers; returns its exit status."""

    def too_late(*_, **__):
        raise AssertionError("the command went on")

    monkeypatch.setattr(pipeline.TrainingPipeline, "models", too_late)
    monkeypatch.setattr(ChallengeAnswerer, "answer", too_late)
    monkeypatch.setattr("model.evaluate.__main__.answer_split", too_late)
    root, bundle, out = str(tree.root), str(bundle_at), str(tmp_path / "out")
    commands = {
        "train": lambda: train(["--data", root, "--method", "mlp", "--work", out]),
        "evaluate": lambda: evaluate(["--bundle", bundle, "--data", root, "--features", FEATURES]),
        "evaluate packed": lambda: evaluate(
            ["--bundle", bundle, "--data", root, "--features", FEATURES, "--packed-under", out]
        ),
        "score": lambda: score(
            ["--bundle", bundle, "--annotations", root, "--features", str(tree.features),
             "--out", out, "--observed", "2", "--device", "cpu"]
        ),
    }  # fmt: skip
    return lambda command: commands[command]()


def spoil(place, value):
    def change(tree, file):
        rows = tree.rows(seed=9)
        rows[place] = value
        torch.save(rows, file)

    return change


def replaced(make):
    return lambda tree, file: torch.save(make(tree), file)


DEFECTS = {
    "no number": (spoil((5, 3), torch.nan), "not finite"),
    "infinite": (spoil((0, 0), -torch.inf), "not finite"),
    "stride 5": (replaced(lambda t: t.rows(1 + (FRAMES - 32) // 5)), "2400 frames make 149"),
    "half of the video": (replaced(lambda t: t.rows(74)), "the file has 74"),
    "narrower": (replaced(lambda t: t.rows()[:, 1:]), "holds vectors of|expected what the others"),
    "other precision": (replaced(lambda t: t.rows().half()), "expected what the others are"),
    "no tensor": (replaced(lambda t: {"features": t.rows()}), "expected (N, D)"),
    "cut short": (lambda t, f: f.write_bytes(f.read_bytes()[:500]), "not a tensor file"),
}


OURS = {
    "other stride": ({"stride_frames": 8}, "expected windows every 16 frames"),
    "other rate": ({"fps": 25.0}, "at 30 fps, got every 16 at 25"),
    "other length": ({"num_frames": 300}, "300 frames make 18 windows, the track has 149"),
    "other times": ({"start_s": torch.zeros(149).double()}, "expected `start_s`"),
    "no number": ({"features": torch.full((149, 6), torch.nan)}, "expected finite features"),
    "another encoder's": (
        {"encoder": EncoderId("other", "e" * 64)},
        "holds features of other eeeeeeeeeeee|expected what the others are",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ONE_OF)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_spoilt_file_is_named_before_any_work(tree, run, capsys, command, defect):
    spoil_file, said = DEFECTS[defect]
    file = tree.file(ONE_OF[command])
    spoil_file(tree, file)
    assert run(command) == (1 if command == "train" else 2)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert file.name in message
    assert any(part in message for part in said.split("|"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ONE_OF)
@pytest.mark.parametrize("defect", OURS)
def test_a_track_that_contradicts_itself_is_named(tree, run, capsys, command, defect, bundle_at):
    made_by = EncoderId("tiny", load_bundle(bundle_at).manifest.encoder["fingerprint"])
    facts, said = OURS[defect]
    for video in VIDEOS:
        track = make_track(FRAMES, video_id=video, encoder=made_by, width=tree.width)
        if video == ONE_OF[command]:
            track = replace(track, **facts)
        tree.file(video).with_suffix(".safetensors").write_bytes(track_bytes(track))
    assert run(command) == (1 if command == "train" else 2)
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{ONE_OF[command]}.safetensors" in message
    assert any(part in message for part in said.split("|"))


@pytest.mark.parametrize("command", ONE_OF)
def test_features_of_half_a_video_are_refused_without_its_length(tree, run, capsys, command):
    """The rows end with frame 1199, a segment begins at 2000."""
    (tree.root / "ego4d.json").unlink()
    file = tree.file(ONE_OF[command])
    torch.save(tree.rows(74), file)
    assert run(command) == (1 if command == "train" else 2)
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{file.name}: 74 rows, one every 16 frames, end with frame 1199" in message
    assert "25" in message.split("but ")[1].split(" begins at frame 2000 of this video")[0]


@pytest.mark.parametrize("command", ONE_OF)
@pytest.mark.parametrize("stride", [5, 6])
def test_a_set_of_another_stride_is_refused_without_lengths(tree, run, capsys, command, stride):
    (tree.root / "ego4d.json").unlink()
    for video in VIDEOS:
        torch.save(tree.rows(1 + (FRAMES - 32) // stride), tree.file(video))
    assert run(command) == (1 if command == "train" else 2)
    message = capsys.readouterr().err.splitlines()[-1]
    assert "features of a smaller stride" in message
    assert f"ego4d --output_directory={tree.root} --datasets annotations" in message


def test_a_known_length_settles_what_annotations_cannot(tree, run, capsys):
    """Long after its last annotation a video may go on, where its length is stated."""
    long = int(FRAMES * LONGEST_REST * 1.5)
    for video in VIDEOS:
        torch.save(tree.rows(count_windows(long)), tree.file(video))
    tree.state_facts(dict.fromkeys(VIDEOS, long))
    with pytest.raises(AssertionError, match="the command went on"):
        run("score")
    (tree.root / "ego4d.json").unlink()
    assert run("score") == 2


def test_what_was_packed_before_is_compared_with_what_is_known_now(tree, run, capsys):
    for video in VIDEOS:
        torch.save(tree.rows(1 + (FRAMES - 32) // 5), tree.file(video))
    (tree.root / "ego4d.json").unlink()
    assert run("train") == 1  # packed, then refused as a whole
    tree.state_facts(dict.fromkeys(VIDEOS, FRAMES))
    capsys.readouterr()
    assert run("train") == 1
    assert "2400 frames make 149 windows" in capsys.readouterr().err


def test_lengths_beside_the_features_do_where_annotations_lie_elsewhere(
    tree, bundle_at, tmp_path, capsys
):
    """The stride is another, and annotations alone would not show it."""
    torch.save(tree.rows(1 + (FRAMES - 32) // 5), tree.file("y"))
    elsewhere = tmp_path / "annotations"
    shutil.copytree(tree.root / "v1" / "annotations", elsewhere)
    asked = ["--annotations", str(elsewhere), "--bundle", str(bundle_at),
             "--features", str(tree.features), "--out", str(tmp_path / "out")]  # fmt: skip
    assert score([*asked, "--observed", "2", "--device", "cpu"]) == 2
    assert "y.pt: 2400 frames make 149 windows" in capsys.readouterr().err


@pytest.mark.parametrize("command", ONE_OF)
def test_a_sound_tree_goes_on(run, command):
    with pytest.raises(AssertionError, match="the command went on"):
        run(command)


def test_lengths_are_missed_where_they_are_not_stated(tree, run, caplog):
    (tree.root / "ego4d.json").unlink()
    with pytest.raises(AssertionError, match="the command went on"):
        run("score")
    assert "the lengths of their videos are not known" in caplog.text


def test_a_spoilt_track_is_named_before_a_task_is_learnt(tmp_path, bundle_at, capsys):
    bundle = load_bundle(bundle_at)
    store = write_features(tmp_path / "features", Predictor(bundle).encoder)
    track = store.read("d")
    track.features[3] = torch.inf
    (tmp_path / "features" / "d.safetensors").write_bytes(track_bytes(track))
    command = ["--learn", write_task(tmp_path, "hand"), "--labels", write_labels(tmp_path, "hand"),
               "--features", tmp_path / "features", "--bundle", bundle_at,
               "--work", tmp_path / "work"]  # fmt: skip
    assert train([str(word) for word in command]) == 2
    assert "d.safetensors: expected finite features" in capsys.readouterr().err


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e5])
def test_features_that_are_not_finite_are_not_stored(tmp_path, value):
    track = make_track(100)
    track.features[1, 2] = value
    store = FeatureStore(tmp_path)
    with pytest.raises(FeatureFileInvalid, match=r"clip\.pt: not written.*float16"):
        store.write_bare(track, half=True)
    if value != 1e5:
        with pytest.raises(FeatureFileInvalid, match="not written"):
            store.write(track)
    assert store.video_ids() == []
