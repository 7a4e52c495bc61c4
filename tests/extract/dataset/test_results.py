import json
from dataclasses import replace

import pytest
import torch

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_file import track_bytes
from tests.extract.support.commands import run, summary


def test_a_broken_result_is_made_again(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    run(videos, "--out", out, "--encoder", bundle)
    path = out / "one.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert summary(capsys) == {"written": 1, "skipped": 1, "failed": {}}


def test_release_files_of_another_encoder_are_not_mistaken_for_ours(
    bundle, videos, tmp_path, capsys, tiny_encoder
):
    out = tmp_path / "features"
    arguments = (videos, "--out", out, "--encoder", bundle, "--format", "pt")
    assert run(*arguments) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["encoder"]["fingerprint"] == tiny_encoder.fingerprint
    report["encoder"]["fingerprint"] = "another"
    (out / "report.json").write_text(json.dumps(report))
    assert run(*arguments) == 1


def test_release_files_can_be_half_and_are_made_again_in_the_other_precision(
    bundle, videos, tmp_path, capsys
):
    out = tmp_path / "features"
    arguments = (videos, "--out", out, "--encoder", bundle, "--format", "pt")
    assert run(*arguments, "--half") == 0
    half = torch.load(out / "one.pt", weights_only=True)
    capsys.readouterr()
    assert run(*arguments, "--half") == 0
    assert summary(capsys, "skipped") == {"skipped": 2}
    assert run(*arguments) == 0
    assert summary(capsys, "written") == {"written": 2}
    full = torch.load(out / "one.pt", weights_only=True)
    assert (half.dtype, full.dtype) == (torch.float16, torch.float32)
    assert torch.equal(full.half(), half)


def test_both_formats_may_share_a_folder(bundle, videos, tmp_path, capsys):
    arguments = (videos, "--out", tmp_path / "features", "--encoder", bundle)
    for file_format in ("safetensors", "pt"):
        assert run(*arguments, "--format", file_format) == 0
        assert summary(capsys, "written") == {"written": 2}


@pytest.mark.slow
def test_a_file_with_too_few_or_other_rows_is_made_again(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    arguments = (videos, "--out", out, "--encoder", bundle)
    run(*arguments)
    store = FeatureStore(out)
    track = store.read("one")
    spoilt = {
        "too few": replace(track, features=track.features[:2], start_s=track.start_s[:2],
                           end_s=track.end_s[:2]),
        "not finite": replace(track, features=track.features / 0.0),
        "another encoder": replace(track, encoder=EncoderId("tiny", "another")),
    }  # fmt: skip
    for wrong in spoilt.values():
        (out / "one.safetensors").write_bytes(track_bytes(wrong))
        capsys.readouterr()
        assert run(*arguments) == 0
        assert summary(capsys) == {"written": 1, "skipped": 1, "failed": {}}
        assert torch.equal(store.read("one").features, track.features)
