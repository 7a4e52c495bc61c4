import json

import pytest
import torch

from extract.__main__ import main
from extract.loading import encoder_spec
from extract.store import FeatureStore
from tests.extract.clips import write_numbered
from weights.bundle import Bundle, save_bundle
from weights.manifest import Manifest


@pytest.fixture
def bundle(tmp_path, tiny_encoder):
    manifest = Manifest(
        name="tiny",
        version="1",
        encoder=encoder_spec(tiny_encoder),
        model={},
        backbones={},
        skills={},
        label_spaces={},
    )
    save_bundle(
        Bundle(manifest, tiny_encoder.state_dict(), {}, {}, {"p": torch.zeros(1)}),
        tmp_path / "bundle",
    )
    return tmp_path / "bundle"


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    (folder / "deeper").mkdir(parents=True)
    write_numbered(folder / "one.mp4", 50)
    write_numbered(folder / "deeper" / "two.mkv", 40)
    (folder / "notes.txt").write_text("no video")
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def summary(capsys, *names):
    found = json.loads(capsys.readouterr().out)
    return {name: found[name] for name in names or ("written", "skipped", "failed")}


def test_a_folder_is_extracted_and_a_second_run_has_nothing_to_do(
    bundle, videos, tmp_path, capsys, tiny_encoder
):
    out = tmp_path / "features"
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert summary(capsys) == {"written": 2, "skipped": 0, "failed": {}}
    store = FeatureStore(out)
    assert store.video_ids() == ["one", "two"]
    track = store.read("one")
    assert track.features.shape == (3, tiny_encoder.dim)
    assert track.encoder.fingerprint == tiny_encoder.fingerprint

    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert summary(capsys) == {"written": 0, "skipped": 2, "failed": {}}


def test_a_broken_result_is_made_again(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    run(videos, "--out", out, "--encoder", bundle)
    path = out / "one.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert summary(capsys) == {"written": 1, "skipped": 1, "failed": {}}


def test_a_bad_video_is_listed_and_does_not_stop_the_others(bundle, videos, tmp_path, capsys):
    (videos / "bad.mp4").write_bytes(b"nothing")
    assert run(videos, "--out", tmp_path / "features", "--encoder", bundle) == 3
    found = summary(capsys)
    assert found["written"] == 2
    assert list(found["failed"]) == ["bad"]
    assert "not-a-video" in found["failed"]["bad"]


def test_features_can_be_written_in_the_layout_of_the_release(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    arguments = (videos / "one.mp4", "--out", out, "--encoder", bundle, "--format", "pt")
    assert run(*arguments) == 0
    assert torch.load(out / "one.pt", weights_only=True).shape == (3, 12)
    capsys.readouterr()
    assert run(*arguments) == 0
    assert summary(capsys)["skipped"] == 1


@pytest.mark.parametrize("problem", ["no bundle", "no video", "same name"])
def test_a_run_that_cannot_start_says_so(bundle, videos, tmp_path, problem):
    if problem == "no bundle":
        assert run(videos, "--out", tmp_path / "f", "--encoder", tmp_path) == 1
    elif problem == "no video":
        (tmp_path / "empty").mkdir()
        assert run(tmp_path / "empty", "--out", tmp_path / "f", "--encoder", bundle) == 1
    else:
        write_numbered(videos / "deeper" / "one.mp4", 33)
        assert run(videos, "--out", tmp_path / "f", "--encoder", bundle) == 1
    assert not (tmp_path / "f").exists()
