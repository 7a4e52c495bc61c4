import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.uploads.spool import PREFIX, DiskQuota, SpoolDirectory
from server.errors import QueueFull


def old(path):
    path.mkdir(parents=True)
    (path / "clip").write_bytes(b"x")
    os.utime(path, (0, 0))
    return path


def test_what_a_dead_server_left_is_swept_up_and_nothing_else(tmp_path):
    living = SpoolDirectory(tmp_path)
    os.utime(living.path, (0, 0))
    dead, foreign = old(tmp_path / f"{PREFIX}dead"), old(tmp_path / "other")
    young = tmp_path / f"{PREFIX}young"
    young.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(foreign)
    mine = SpoolDirectory(tmp_path)
    assert mine.path.is_dir()
    assert not dead.exists()
    assert living.path.exists()
    assert young.exists()
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
    os.utime(left, (0, 0))
    folder = SpoolDirectory(tmp_path)
    made = folder.path
    assert list(tmp_path.iterdir()) == [made]
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
