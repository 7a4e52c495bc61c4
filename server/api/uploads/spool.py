"""Spool: a private directory of request bodies with a disk quota, written off the event loop.

The directory is removed with its server; directories of servers that were killed are swept.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

from server.errors import QueueFull, StorageUnavailable
from server.scheduling.shares import Shares

logger = logging.getLogger(__name__)

PREFIX = "egopack-spool-"
NEW_PREFIX = "egopack-new-spool-"
"""Of a directory that is yet to be locked; only then it is given a name that is swept."""

YOUNG_S = 60.0
"""Age from which a directory with `NEW_PREFIX` is swept too: its server died between two steps."""

FLUSH_BYTES = 1 << 20
"""Bytes gathered before a write, so that a clip takes a handful of thread hops."""

LARGE_BYTES = 16 << 20
"""From this size on the deletion of a file would be felt on the event loop."""

_WORDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
    errno.EMFILE: "out of descriptors",
    errno.ENFILE: "out of descriptors",
    errno.ENOENT: "gone",
}


def fault_of(error: OSError) -> str:
    """Returns what is wrong with a folder, in a word that may be shown to any caller."""
    return _WORDS.get(error.errno or 0, "failing")


@contextmanager
def storing() -> Iterator[None]:
    """Turns errors of the file system into `StorageUnavailable`, which callers may retry."""
    try:
        yield
    except OSError as error:
        fault = fault_of(error)
        logger.warning("an upload cannot be stored: %s", error)
        raise StorageUnavailable(f"the folder of uploads is {fault}; try again later") from error


class SpoolDirectory:
    """A directory made when first needed, accessible to this user alone, locked while in use."""

    def __init__(self, parent: Path | None) -> None:
        """Makes nothing yet.

        Args:
            parent: where to make it; default: the system's directory for temporary files.
        """
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._path: Path | None = None
        self._lock = -1
        self._making = threading.Lock()

    @property
    def path(self) -> Path:
        """The directory; a new one, if it was removed by somebody else.

        Raises:
            OSError: it cannot be made.
        """
        with self._making:
            if self._path is None or not self._path.exists():
                self.remove()
                self.sweep()
                made = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=self._parent))
                self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._path = made.rename(self._parent / f"{PREFIX}{uuid4().hex}")
            return self._path

    def remove(self) -> None:
        """Removes the directory and everything in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = None

    def check(self) -> str:
        """Writes what an upload would write; returns "ok" or what is wrong, as `fault_of` says."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as probe:  # has no name, or loses it at once
                probe.write(bytes(FLUSH_BYTES))
        except OSError as error:
            return fault_of(error)
        return "ok"

    def sweep(self) -> None:
        """Removes this user's directories that no process has locked: their servers were killed.

        Raises:
            OSError: the parent cannot be made.
        """
        self._parent.mkdir(parents=True, exist_ok=True)
        for path in self._parent.glob(f"{PREFIX}*"):
            _sweep(path, min_age_s=0.0)
        for path in self._parent.glob(f"{NEW_PREFIX}*"):
            _sweep(path, min_age_s=YOUNG_S)


def _sweep(path: Path, *, min_age_s: float) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # removed meanwhile, another user's, or no directory
        return
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < min_age_s:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        logger.warning("removing the spool of a server that died: %s", path.name)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:  # locked: its server is running
        return
    finally:
        os.close(descriptor)


class SpoolFile:
    """A new file whose bytes are gathered in memory and written in a thread; a context manager.

    Attributes:
        path: the file.
        size_bytes: bytes added so far.
    """

    def __init__(self, directory: SpoolDirectory) -> None:
        """Opens the file, under a random name: the client's reaches neither disk nor decoder.

        Raises:
            StorageUnavailable: it cannot be opened.
        """
        self._pending = bytearray()
        self.size_bytes = 0
        with storing():
            self.path = directory.path / uuid4().hex
            self._file = self.path.open("xb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the write said so already
            self._file.close()

    async def remove(self) -> None:
        """Deletes the file, unless it was moved; a large one in a thread, since that takes time."""
        if self.size_bytes < LARGE_BYTES:
            self._unlink()
        else:
            await asyncio.shield(asyncio.to_thread(self._unlink))

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):  # what cannot be removed now is swept
            self.path.unlink(missing_ok=True)

    def add(self, data: bytes) -> None:
        """Gathers the next bytes."""
        self._pending += data
        self.size_bytes += len(data)

    async def flush(self, *, least: int = FLUSH_BYTES) -> None:
        """Writes the gathered bytes if there are at least so many.

        Raises:
            StorageUnavailable: they cannot be written.
        """
        if len(self._pending) >= least:
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        data, self._pending = self._pending, bytearray()
        with storing(), memoryview(data) as view:
            start = 0
            while start < len(view):
                start += self._file.write(view[start:])


class DiskQuota:
    """Bytes that all bodies together may take on disk, those still to be received included."""

    def __init__(
        self,
        limit: int,
        retry_after_s: Callable[[], int] = lambda: 1,
        *,
        share: float = 1.0,
        largest: int = 0,
    ) -> None:
        """Starts with nothing reserved.

        Args:
            limit: bytes.
            retry_after_s: estimated seconds until there is room again.
            share: the part of it that one caller's bodies may take.
            largest: bytes of the largest body, which has room whatever the share.
        """
        self.shares = Shares(limit, share, least=largest)
        self._retry_after_s = retry_after_s

    @property
    def held(self) -> int:
        """Bytes reserved."""
        return self.shares.held

    @contextmanager
    def reserve(self, caller: str = "") -> Iterator[Callable[[int], None]]:
        """Yields a function that grows one body's reservation to a size; releases it at the end.

        The function raises QueueFull if there is no room now.

        Args:
            caller: whose share is counted; empty: none.
        """
        reserved = 0

        def grow_to(size: int) -> None:
            nonlocal reserved
            more = max(0, size - reserved)
            if more and not self.shares.has_room(caller, more):
                raise QueueFull(self._retry_after_s())
            self.shares.take(caller, more)
            reserved += more

        try:
            yield grow_to
        finally:
            self.shares.give_back(caller, reserved)
