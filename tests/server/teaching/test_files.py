import asyncio
import errno
import os
import stat
import time

import pytest

from server.errors import StorageUnavailable
from server.teaching.files import TeachingFiles, names_in
from tests.server.support.fakes import make_settings


@pytest.fixture
def files():
    made = TeachingFiles(make_settings())
    made.create()
    return made


def test_folders_are_closed_to_others_also_if_they_existed():
    settings = make_settings()
    files = TeachingFiles(settings)
    root = settings.state_dir / "teaching"
    root.mkdir(parents=True, mode=0o755)
    files.create()
    for folder in (root, files.clips, files.skills, files.bundles, files.work):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_killed_servers_left_is_swept_once_it_is_old(files):
    old, young = files.new_folder("old"), files.new_folder("young")
    (old / "x").write_text("x")
    long_ago = time.time() - 2 * 86400
    os.utime(old, (long_ago, long_ago))
    files.create()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_folder_appears_whole_and_vanishes_whole(files):
    folder, place = files.new_folder(), files.skills / "hand" / "1"
    (folder / "x").write_text("x")
    files.publish(folder, place)
    assert (names_in(place), names_in(files.work)) == (["x"], [])
    other = files.new_folder()
    with pytest.raises(OSError, match="not empty"):
        files.publish(other, place)
    assert (place / "x").read_text() == "x"
    files.discard(place)
    assert not place.exists()
    with pytest.raises(FileNotFoundError):
        files.discard(place)
    assert names_in(files.skills / "nowhere") == []


def test_one_at_a_time_holds_a_lock_over_all_servers(files):
    other = TeachingFiles(make_settings(state_dir=files.work.parents[1]))
    events = []

    async def hold(held, name):
        async with held.locked("skills"):
            events.append(f"{name} in")
            await asyncio.sleep(0.01)
            events.append(f"{name} out")

    async def main():
        async with files.locked("clips"):  # another lock
            await asyncio.gather(hold(files, "a"), hold(other, "b"), hold(files, "c"))

    asyncio.run(main())
    assert len(events) == 6
    assert all(events[i][0] == events[i + 1][0] for i in (0, 2, 4))


def test_a_lock_is_free_again_when_its_holder_is_cancelled(files):
    async def main():
        async with files.locked("skills"):
            waiting = asyncio.create_task(files.locked("skills").__aenter__())
            await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(60), files.locked("skills"):
            pass

    asyncio.run(main())


def test_errors_that_pass_are_told_without_a_path(files):
    def fail(number):
        raise OSError(number, "secret of the disk")

    async def main():
        with pytest.raises(StorageUnavailable, match="the disk of taught skills is full"):
            await files.call(lambda: fail(errno.ENOSPC))
        with pytest.raises(OSError, match="secret"):
            await files.call(lambda: fail(errno.EIO))

    asyncio.run(main())
