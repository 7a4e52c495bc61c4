"""Files of teaching: folders that appear and vanish whole, and locks that servers share.

All of it lies below `state_dir/teaching`, closed to other users of the machine. What is being
written lies in `work/` until it is complete and on disk; then one rename puts it in its place.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal, TypeVar
from uuid import uuid4

from server.engine.active import teaching_folder
from server.errors import StorageUnavailable
from server.jobs.setbacks import reason_of
from server.scheduling.daemon_thread import run_in_daemon_thread
from server.settings.settings import Settings
from weights.storage.atomic import sync

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOCK_POLL_S = 0.05
ORPHAN_S = 3600.0
"""Age from which what lies in `work/` was left by a server that was killed, beside `timeout_s`."""

Lock = Literal["clips", "skills"]


class TeachingFiles:
    """The folders; blocking, except `call` and `locked`.

    Attributes:
        clips: a folder for each caller.
        skills: a folder for each skill.
        bundles: bundles with taught skills.
        work: what is being written.
    """

    def __init__(self, settings: Settings) -> None:
        """Makes nothing before `create`."""
        self._root = root = teaching_folder(settings)
        self._min_age_s = settings.teaching_timeout_s + ORPHAN_S
        self.clips, self.skills = root / "clips", root / "skills"
        self.bundles, self.work = root / "bundles", root / "work"

    def create(self) -> None:
        """Creates missing folders, and sweeps what killed servers left half-written."""
        for folder in (self._root, self.clips, self.skills, self.bundles, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another user's, who decides
                folder.chmod(folder.stat().st_mode & ~0o077)
        before_s = time.time() - self._min_age_s
        for path in self.work.iterdir():
            with contextlib.suppress(OSError):  # another server sweeps, too
                if path.stat().st_mtime < before_s:
                    shutil.rmtree(path)

    async def call(self, work: Callable[[], T]) -> T:
        """Runs blocking work in a thread of its own, so that a folder that hangs stops nothing.

        Raises:
            StorageUnavailable: something is missing that may come back, such as space on the disk.
        """

        def run() -> T:
            with _storing():
                return work()

        return await run_in_daemon_thread("teaching", run)

    @asynccontextmanager
    async def locked(self, what: Lock) -> AsyncIterator[None]:
        """Holds the lock of all clips or of all skills, over every server that shares the folder.

        The system releases it if the server is killed.
        """

        def open_lock() -> IO[bytes]:
            self.create()
            return (self._root / f"{what}.lock").open("ab")

        with await self.call(open_lock) as file:  # closing releases the lock
            while not await self.call(partial(_try_lock, file)):
                await asyncio.sleep(LOCK_POLL_S)
            yield

    def new_folder(self, name: str = "") -> Path:
        """Makes an empty folder in `work/`; with a name, in place of one that was left there."""
        folder = self.work / (name or uuid4().hex)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def drop_work(self, prefix: str) -> None:
        """Removes what servers that were killed left of one piece of work."""
        for path in self.work.glob(f"{prefix}.*"):
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, folder: Path, place: Path) -> None:
        """Puts a complete folder in its place, where there is none or an empty one."""
        for path in folder.iterdir():
            sync(path)
        sync(folder)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(folder, place)
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            sync(place.parent)

    def discard(self, place: Path) -> None:
        """Removes a folder: it vanishes in one step.

        Raises:
            FileNotFoundError: there is none.
        """
        gone = self.work / uuid4().hex
        os.rename(place, gone)
        shutil.rmtree(gone, ignore_errors=True)  # what is left is swept


def names_in(folder: Path) -> list[str]:
    """Returns the names in a folder, sorted; none if there is no folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _storing() -> Iterator[None]:
    """Turns errors of the file system that may pass into `StorageUnavailable`."""
    try:
        yield
    except OSError as error:
        reason = reason_of(error)
        if reason is None:
            raise
        logger.warning("teaching: %s", error)
        raise StorageUnavailable(reason.replace("of jobs", "of taught skills")) from error


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
