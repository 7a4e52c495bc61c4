"""Videos of any name through the command: one file of features each, and none stops the others."""

import json
import os
import shutil

import pytest

from extract.__main__ import main
from extract.features.ids import id_of
from extract.features.store import FeatureStore
from tests.extract.support.clips import write_numbered

LATIN = os.fsdecode(b"K\xfcche 2")
ODD = ["Küche 1", "Ku\u0308che 1", LATIN, "a [b] 'c' \"d\"", "-x", ".hid", "a\nb", "a=b", "x" * 251,
       "厨房", "pct %d", "file:z"]  # fmt: skip
PLAIN = ["one", "ONE", "one.two"]


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    (folder / "P01").mkdir(parents=True)
    one = write_numbered(folder / "P01" / "first.mp4", 40)
    for name in ODD + PLAIN:
        shutil.copyfile(one, folder / f"{name}.mp4")
    shutil.copyfile(one, folder / "loud.MP4")
    shutil.copyfile(one, folder / "first.mp4")
    return folder


def run(*words):
    return main([str(word) for word in words])


def report_of(out):
    return json.loads((out / "report.json").read_text())["videos"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(), ("--format", "pt")], ids=["ours", "bare"])
def test_a_folder_of_odd_names_is_extracted_whole_and_found_again(
    bundle, videos, tmp_path, capsys, layout
):
    out = tmp_path / "features"
    (videos / "bad [1].mp4").write_bytes(b"nothing")
    assert run(videos, "--out", out, "--encoder", bundle, *layout) == 3
    printed = json.loads(capsys.readouterr().out)
    files = [path for path in videos.rglob("*") if path.is_file()]
    assert printed["written"] == len(files) - 1
    assert list(printed["failed"]) == [id_of("bad [1]")]
    report = report_of(out)
    assert {entry["path"] for entry in report.values()} == set(map(str, files))
    stems = {name: entry["path"] for name, entry in report.items() if entry["status"] == "written"}
    assert set(FeatureStore(out).video_ids()) == set(stems)
    for name in ODD + PLAIN:
        assert stems[id_of(name)] == str(videos / f"{name}.mp4")
    assert stems["loud"] == str(videos / "loud.MP4")
    assert stems[id_of("./P01/first.mp4")] == str(videos / "P01" / "first.mp4")

    assert run(videos, "--out", out, "--encoder", bundle, *layout) == 3
    printed = json.loads(capsys.readouterr().out)
    assert (printed["written"], printed["skipped"]) == (0, len(files) - 1)


def test_what_a_list_names_wrongly_costs_its_own_line(bundle, videos, tmp_path, capsys):
    lines = [
        b"one.mp4",
        b"no\xffwhere.mp4",
        b"y" * 300 + b".mp4",
        f"{LATIN}.mp4".encode("utf-8", "surrogateescape"),
    ]
    (videos / "list.txt").write_bytes(b"\n".join(lines))
    (videos / "list.csv").write_text('id,path\nP02/x y,ONE.mp4\nzero,"a\0.mp4"\n')
    out = tmp_path / "features"
    assert run(videos / "list.txt", videos / "list.csv", "--out", out, "--encoder", bundle) == 3
    assert set(FeatureStore(out).video_ids()) == {"one", id_of(LATIN), id_of("P02/x y")}
    failed = {name: entry["why"] for name, entry in report_of(out).items() if entry["why"]}
    assert failed == {
        id_of(os.fsdecode(b"no\xffwhere")): "missing-file",
        id_of("y" * 300): "file-error",
        "zero": "failed",
    }


def test_a_dry_run_names_the_ids(bundle, videos, tmp_path, capsys):
    file = videos / f"{LATIN}.mp4"
    assert run(file, "--out", tmp_path / "f", "--encoder", bundle, "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["to_do"] == {id_of(LATIN): str(file)}


def test_a_bucket_takes_every_name(bundle, videos, storage, capsys):
    url = "s3://bucket/features/odd"
    for written, skipped in ((1, 0), (0, 1)):
        assert run(videos / "Küche 1.mp4", "--out", url, "--encoder", bundle) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["written"], printed["skipped"]) == (written, skipped)
    name = id_of("Küche 1")
    assert f"features/odd/{name}.safetensors" in storage.names()
    assert FeatureStore(url).read(name).video_id == name
