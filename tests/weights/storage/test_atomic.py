import os
import signal
import stat
import subprocess
import sys

import pytest

from weights.storage.atomic import TEMPORARY, atomic_path, write_atomic


@pytest.mark.parametrize("data", ["naïve\n", b"\x00\xff"])
def test_a_file_and_its_folder_are_made_and_nothing_else_is_left(tmp_path, data):
    path = tmp_path / "new" / "file.json"
    write_atomic(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_file_and_removes_the_temporary_one(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_full_disk_tears_no_file(tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_text("old")
    with full_disk(1000), pytest.raises(OSError, match="File too large"):
        write_atomic(path, bytes(2000))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_data_is_on_disk_before_the_rename_and_the_rename_before_the_return(
    tmp_path, monkeypatch
):
    path, events = tmp_path / "file", []
    replace, fsync = os.replace, os.fsync

    def sync(handle):
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size
        events.append(kind)
        fsync(handle)

    def rename(source, target):
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    write_atomic(path, b"12345")
    assert events == [5, "rename", "folder"]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"


def test_the_mode_follows_the_umask_like_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_killed_process_leaves_the_old_file_and_a_temporary_one_of_known_name(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    program = (
        "import os, sys, pathlib; from weights.storage.atomic import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('ne')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert TEMPORARY.fullmatch(left.name)["name"] == "file"
