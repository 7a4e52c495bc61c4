import ctypes
import json

import numpy as np
import pytest
import torch

from extract.features.store import FeatureStore
from tests.extract.support.clips import numbered_frame, write_clip, write_numbered
from tests.extract.support.commands import run, summary


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


def test_another_runtime_is_asked_for_by_name_and_gives_the_same_features(
    bundle, videos, tmp_path, capsys
):
    one = videos / "one.mp4"
    asked = ("--encoder", bundle, "--runtime", "onnx")
    assert run(one, "--out", tmp_path / "onnx", *asked) == 0
    assert run(one, "--out", tmp_path / "torch", "--encoder", bundle) == 0
    found, expected = (FeatureStore(tmp_path / name).read("one") for name in ("onnx", "torch"))
    assert found.encoder == expected.encoder
    torch.testing.assert_close(found.features, expected.features, atol=1e-4, rtol=0)


@pytest.mark.parametrize("problem", ["no bundle", "no video", "same id"])
def test_a_run_that_cannot_start_says_so(bundle, videos, tmp_path, problem, caplog):
    if problem == "no bundle":
        assert run(videos, "--out", tmp_path / "f", "--encoder", tmp_path) == 1
    elif problem == "no video":
        (tmp_path / "empty").mkdir()
        assert run(tmp_path / "empty", "--out", tmp_path / "f", "--encoder", bundle) == 1
    else:
        for path, other in (("a.csv", "one.mp4"), ("b.csv", "deeper/two.mkv")):
            (videos / path).write_text(f"id,path\nmine,{other}\n")
        lists = (videos / "a.csv", videos / "b.csv")
        assert run(*lists, "--out", tmp_path / "f", "--encoder", bundle) == 1
        assert "would both be stored as 'mine'" in caplog.text
    assert not (tmp_path / "f").exists()


@pytest.mark.slow
def test_a_stated_length_is_believed_up_to_one_window(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    listed = videos / "list.csv"
    for frames, written in ((50, 1), (66, 0), (90, 1), (10, 1)):
        listed.write_text(f"id,path,num_frames\none,one.mp4,{frames}\n")
        assert run(listed, "--out", out, "--encoder", bundle) == 0
        assert summary(capsys, "written") == {"written": written}, frames


def test_what_a_list_names_and_is_not_there_fails(bundle, videos, tmp_path, capsys):
    listed = videos / "list.csv"
    listed.write_text("id,path\nrenamed,one.mp4\ngone,gone.mp4\n")
    out = tmp_path / "features"
    assert run(listed, "--out", out, "--encoder", bundle) == 3
    assert list(summary(capsys)["failed"]) == ["gone"]
    assert FeatureStore(out).video_ids() == ["renamed"]
    report = json.loads((out / "report.json").read_text())
    assert report["videos"]["gone"]["why"] == "missing-file"
    assert report["videos"]["renamed"]["windows"] == 3


def test_failures_are_tried_again_unless_told_otherwise(bundle, videos, tmp_path, capsys):
    (videos / "bad.mp4").write_bytes(b"nothing")
    arguments = (videos, "--out", tmp_path / "features", "--encoder", bundle)
    assert run(*arguments) == 3
    write_numbered(videos / "bad.mp4", 40)
    for _ in range(2):
        capsys.readouterr()
        assert run(*arguments, "--skip-failed") == 3
        assert list(summary(capsys)["failed"]) == ["bad"]
    assert run(*arguments) == 0
    assert summary(capsys) == {"written": 1, "skipped": 2, "failed": {}}


@pytest.mark.slow
def test_shards_together_make_what_one_run_makes(bundle, videos, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for k in range(6):
        write_numbered(videos / f"clip-{k}.mp4", 32)
    assert run(videos, "--out", whole, "--encoder", bundle) == 0
    written = []
    for k in (1, 2, 3):
        capsys.readouterr()
        assert run(videos, "--out", parts, "--encoder", bundle, "--shard", f"{k}/3") == 0
        written.append(summary(capsys, "written")["written"])
        assert (parts / f"report-{k}-of-3.json").is_file()
    assert sum(written) == 8
    assert features_in(whole) == features_in(parts)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    assert run(videos / "one.mp4", "--out", out, "--encoder", bundle) == 0
    before = sorted(path.stat().st_mtime_ns for path in out.iterdir())
    capsys.readouterr()
    assert run(videos, "--out", out, "--encoder", bundle, "--dry-run") == 0
    assert summary(capsys, "to_do", "skipped") == {
        "to_do": {"two": str(videos / "deeper" / "two.mkv")},
        "skipped": 1,
    }
    assert sorted(path.stat().st_mtime_ns for path in out.iterdir()) == before
    assert run(videos, "--out", tmp_path / "new", "--encoder", bundle, "--dry-run") == 0
    assert not (tmp_path / "new").exists()


def test_a_run_without_the_gpu_it_asks_for_does_not_start(
    bundle, videos, tmp_path, monkeypatch, caplog
):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    arguments = (videos, "--out", tmp_path / "f", "--encoder", bundle, "--reader", "nvdec")
    assert run(*arguments) == 1
    assert "libcuda.so.1 is missing" in caplog.text
    assert not (tmp_path / "f").exists()


def features_in(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.slow
def test_the_left_half_of_a_stereo_video_is_all_that_counts(bundle, tmp_path):
    left = [numbered_frame(k, 64, 48) for k in range(40)]
    right = [numbered_frame(255 - k, 64, 48) for k in range(40)]
    both = [np.concatenate(pair, axis=1) for pair in zip(left, right, strict=True)]
    lossless = {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"qp": "0"}}
    write_clip(tmp_path / "mono.mkv", left, **lossless)
    write_clip(tmp_path / "stereo.mkv", both, **lossless)
    (tmp_path / "list.csv").write_text("id,path,is_stereo\nlisted,stereo.mkv,true\n")
    out = tmp_path / "features"
    for source, flags in (
        ("mono.mkv", ()), ("stereo.mkv", ("--stereo", "always")), ("list.csv", ())
    ):  # fmt: skip
        assert run(tmp_path / source, "--out", out, "--encoder", bundle, *flags) == 0
    mono, stereo, listed = (FeatureStore(out).read(name) for name in ("mono", "stereo", "listed"))
    torch.testing.assert_close(stereo.features, mono.features, atol=1e-3, rtol=0)
    assert torch.equal(stereo.features, listed.features)
    assert stereo.encoder == mono.encoder
    assert run(tmp_path / "stereo.mkv", "--out", tmp_path / "w", "--encoder", bundle) == 0
    whole = FeatureStore(tmp_path / "w").read("stereo")
    assert (whole.features - mono.features).abs().max() > 1e-2


def test_features_of_another_precision_are_not_taken_for_finished_ones(
    bundle, videos, tmp_path, capsys
):
    out = tmp_path / "features"
    asked = (videos, "--out", out, "--encoder", bundle)
    assert run(*asked) == 0
    whole = FeatureStore(out).read("one")
    capsys.readouterr()
    assert run(*asked, "--precision", "bf16") == 0
    assert summary(capsys) == {"written": 2, "skipped": 0, "failed": {}}
    reduced = FeatureStore(out).read("one")
    assert reduced.encoder.fingerprint != whole.encoder.fingerprint
    assert torch.nn.functional.cosine_similarity(reduced.features, whole.features).min() > 0.999
    assert run(*asked, "--precision", "fp16", "--device", "cpu") == 1
