import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Annotated

import fsspec
import pytest
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from weights.errors import RemoteFailed, RemoteMissing
from weights.storage.folders import (
    LocalFolder,
    Place,
    PlaceInvalid,
    RemoteFolder,
    as_place,
    open_folder,
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("weights/tabletop", Path("weights/tabletop")),
        ("C:/odd", Path("C:/odd")),
        ("a:b//c", Path("a:b//c")),
        (Path("weights"), Path("weights")),
        ("file:///srv/a%20b", Path("/srv/a b")),
        ("file://localhost/srv", Path("/srv")),
        ("s3://bucket/one/", "s3://bucket/one"),
        ("abfs://container@account.dfs.core.windows.net/one",) * 2,
    ],
)
def test_a_place_is_a_path_unless_it_is_a_url(text, place):
    assert as_place(text) == place
    assert as_place(as_place(text)) == place


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:hunter2@host/one",
        "https://host/one?X-Amz-Signature=hunter2",
        "s3://bucket/one#hunter2",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(url, capsys):
    with pytest.raises(PlaceInvalid) as caught:
        as_place(url)
    assert "hunter2" not in str(caught.value)
    parser = ArgumentParser()
    parser.add_argument("--out", type=as_place)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", url])
    assert str(caught.value) in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(ValidationError, match="expected"):
        TypeAdapter(Annotated[Place, BeforeValidator(as_place)]).validate_python(url)


def test_another_machines_file_is_not_taken_for_ours():
    with pytest.raises(PlaceInvalid, match="three slashes"):
        as_place("file://host/srv/bundle")


@pytest.fixture(params=["path", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("storage")
        return "s3://bucket/some/folder"
    fsspec.filesystem("memory").store.clear()
    return tmp_path / "folder" if request.param == "path" else "memory://some/folder"


def test_files_are_written_listed_and_read_alike_everywhere(place, tmp_path):
    folder = open_folder(place)
    assert (folder.name, folder.files(), folder.facts("one")) == ("folder", [], None)
    with pytest.raises(FileNotFoundError):
        folder.read("one")
    for data in (b"first", b"second!"):
        folder.write("one", data)
        folder.write("parts/two", b"")
        for seen in (folder, open_folder(place)):
            assert seen.read("one") == data
            assert [name for name in seen.files() if name != "parts"] == ["one"]
            assert seen.facts("one").size == len(data)
            assert seen.facts("parts/two").size == 0
            assert seen.facts("parts/three") is None
    folder.fetch("one", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"second!"


def test_a_file_that_is_written_again_is_another_version(place):
    def version():
        return open_folder(place).facts("one").version

    open_folder(place).write("one", b"first")
    first = version()
    assert version() == first
    open_folder(place).write("one", b"other")
    if isinstance(place, Path):
        os.utime(place / "one", ns=(1, 1))  # a clock may be coarse
    assert version() != first


@pytest.mark.parametrize(
    "said",
    [
        "403 for url https://me:hunter2@host/one",
        "GET https://host/one?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2 failed",
    ],
)
def test_what_a_storage_says_is_repeated_without_secrets(said, monkeypatch):
    def fail(*_, **__):
        raise OSError(said)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", fail)
    with pytest.raises(RemoteFailed) as caught:
        RemoteFolder("memory://some").read("one")
    assert "hunter2" not in str(caught.value)
    assert "host" in str(caught.value)
    assert not isinstance(caught.value, RemoteMissing)


def test_a_fifo_is_refused_at_once_and_holds_nobody(tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(OSError, match="not a regular file"):
        LocalFolder(tmp_path).read("manifest.json")
