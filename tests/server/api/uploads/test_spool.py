import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.uploads.spool import (
    FLUSH_BYTES,
    NEW_PREFIX,
    PREFIX,
    DiskQuota,
    SpoolDirectory,
    SpoolFile,
)
from server.errors import QueueFull, StorageUnavailable


def old(path):
    path.mkdir(parents=True)
    (path / "clip").write_bytes(b"x")
    os.utime(path, (0, 0))
    return path


def test_what_a_dead_server_left_is_swept_up_and_nothing_else(tmp_path):
    living = SpoolDirectory(tmp_path)
    os.utime(living.path, (0, 0))
    dead, foreign = old(tmp_path / f"{PREFIX}dead"), old(tmp_path / "other")
    just_made = tmp_path / f"{NEW_PREFIX}young"
    just_made.mkdir()
    half_made = old(tmp_path / f"{NEW_PREFIX}old")
    (tmp_path / f"{PREFIX}link").symlink_to(foreign)
    mine = SpoolDirectory(tmp_path)
    assert mine.path.is_dir()
    assert not dead.exists()
    assert living.path.exists()
    assert just_made.exists()
    assert not half_made.exists()
    assert (foreign / "clip").exists()
    living.remove()
    mine.remove()
    assert not mine.path.samefile(tmp_path)
    mine.remove()


def test_a_killed_process_holds_its_folder_no_longer(tmp_path):
    code = f"""
from pathlib import Path
import os
from server.api.uploads.spool import SpoolDirectory
folder = SpoolDirectory(Path({str(tmp_path)!r}))
(folder.path / "clip").write_bytes(b"x")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "clip").exists()
    folder = SpoolDirectory(tmp_path)
    made = folder.path
    assert list(tmp_path.iterdir()) == [made]
    folder.remove()


def test_a_folder_that_somebody_removed_is_made_again(tmp_path):
    folder = SpoolDirectory(tmp_path)
    shutil.rmtree(folder.path)
    assert folder.check() == "ok"
    assert [path.name for path in tmp_path.iterdir()] == [folder.path.name]
    folder.remove()


FAULTS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EMFILE: "out of descriptors",
    errno.EIO: "failing",
}


class Failing:
    """A file of which every write fails."""

    def __init__(self, number):
        self._number = number

    def write(self, data):
        raise OSError(self._number, "secret/path")

    def close(self):
        raise OSError(self._number, "secret/path")


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_what_cannot_be_written_is_refused_by_what_is_wrong(tmp_path, monkeypatch, number):
    folder = SpoolDirectory(tmp_path)
    assert folder.check() == "ok"

    def fail(*_, **__):
        raise OSError(number, "secret/path")

    async def write():
        with SpoolFile(folder) as file:
            file._file.close()
            file._file = Failing(number)
            file.add(b"x")
            await file.flush(least=1)

    with pytest.raises(StorageUnavailable, match=FAULTS[number]) as caught:
        asyncio.run(write())
    assert "secret" not in str(caught.value)
    monkeypatch.setattr("pathlib.Path.open", fail)
    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    assert folder.check() == FAULTS[number]
    with pytest.raises(StorageUnavailable, match=FAULTS[number]):
        SpoolFile(folder)
    monkeypatch.undo()
    assert folder.check() == "ok"
    folder.remove()


def test_a_body_of_single_bytes_takes_no_more_memory_than_its_bytes(tmp_path):
    folder = SpoolDirectory(tmp_path)
    with SpoolFile(folder) as file:
        tracemalloc.start()
        for number in range(FLUSH_BYTES // 32):
            file.add(bytes([number % 256, 1]))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2 * file.size_bytes
    folder.remove()


@given(st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=8))
def test_a_quota_is_never_exceeded_and_all_of_it_comes_back(bodies):
    quota, expected = DiskQuota(100, lambda: 7), []
    with ExitStack() as stack:
        for sizes in bodies:
            grow_to, held = stack.enter_context(quota.reserve()), 0
            for size in sizes:
                grown = max(held, size)
                if sum(expected) + grown > 100:
                    with pytest.raises(QueueFull) as caught:
                        grow_to(size)
                    assert caught.value.retry_after_s == 7
                    break
                grow_to(size)
                held = grown
            expected.append(held)
            assert quota.held == sum(expected) <= 100
    assert quota.held == 0
