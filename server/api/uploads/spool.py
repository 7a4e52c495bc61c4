"""Spool: a private directory of request bodies with a disk quota, written off the event loop.

The directory is removed with its server; directories of servers that were killed are swept.
"""

import asyncio
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from server.errors import QueueFull

logger = logging.getLogger(__name__)

PREFIX = "egopack-spool-"

YOUNG_S = 60.0
"""Age from which an unlocked directory counts as abandoned: before, its lock may be yet to come."""

FULL_DISK_S = 30
"""`Retry-After` if the disk itself is full."""

FLUSH_BYTES = 1 << 20
"""Bytes gathered before a write, so that a clip takes a handful of thread hops."""


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

    @property
    def path(self) -> Path:
        """The directory."""
        if self._path is None:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._path

    def remove(self) -> None:
        """Removes the directory and everything in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = None

    def _sweep(self) -> None:
        """Removes this user's directories that no process has locked: their servers were killed."""
        for path in self._parent.glob(f"{PREFIX}*"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:  # removed meanwhile, another user's, or no directory
                continue
            try:
                found = os.fstat(descriptor)
                if found.st_uid != os.getuid() or time.time() - found.st_mtime < YOUNG_S:
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                logger.warning("removing the spool of a server that died: %s", path.name)
                shutil.rmtree(path, ignore_errors=True)
            except OSError:  # locked: its server is running
                continue
            finally:
                os.close(descriptor)


class SpoolFile:
    """A file whose bytes are gathered in memory and written in a thread; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.pending_bytes = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, data: bytes) -> None:
        """Gathers the next bytes."""
        self._pending.append(data)
        self.pending_bytes += len(data)
        self.size_bytes += len(data)

    async def flush(self, *, least: int = FLUSH_BYTES) -> None:
        """Writes the gathered bytes if there are at least so many."""
        if self.pending_bytes >= least:
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        data, self._pending, self.pending_bytes = b"".join(self._pending), [], 0
        view = memoryview(data)
        try:
            while view and self._file is not None:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise QueueFull(FULL_DISK_S) from error


class DiskQuota:
    """Bytes that all bodies together may take on disk, those still to be received included."""

    def __init__(self, limit: int | None, retry_after_s: Callable[[], int] = lambda: 1) -> None:
        """Starts with nothing reserved.

        Args:
            limit: bytes; None: no limit.
            retry_after_s: estimated seconds until there is room again.
        """
        self._limit, self._retry_after_s = limit, retry_after_s
        self.held = 0

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Yields a function that grows one body's reservation to a size; releases it at the end.

        The function raises QueueFull if there is no room now.
        """
        reserved = 0

        def grow_to(size: int) -> None:
            nonlocal reserved
            more = max(0, size - reserved)
            if self._limit is not None and more and self.held + more > self._limit:
                raise QueueFull(self._retry_after_s())
            self.held += more
            reserved += more

        try:
            yield grow_to
        finally:
            self.held -= reserved
