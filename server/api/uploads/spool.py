"""A private folder with a quota; it goes with its server, and so do those of servers that died."""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from server.errors import QueueFull

logger = logging.getLogger(__name__)

PREFIX = "egopack-spool-"

YOUNG_S = 60.0
"""A folder may be this old before its maker must have locked it."""


class SpoolDirectory:
    """Made when first needed, with access for this user alone, and locked while in use."""

    def __init__(self, parent: Path | None) -> None:
        """Remembers where.

        Args:
            parent: where to make it; default: the system's folder for temporary files.
        """
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._path: Path | None = None
        self._lock = -1

    @property
    def path(self) -> Path:
        """The folder."""
        if self._path is None:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._path

    def remove(self) -> None:
        """Removes the folder and whatever is left in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = None

    def _sweep(self) -> None:
        """Removes folders of ours that nobody holds: their servers were killed."""
        for path in self._parent.glob(f"{PREFIX}*"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:  # gone meanwhile, somebody else's, or no folder
                continue
            try:
                facts = os.fstat(descriptor)
                if facts.st_uid != os.getuid() or time.time() - facts.st_mtime < YOUNG_S:
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                logger.warning("removing the spool of a server that died: %s", path.name)
                shutil.rmtree(path, ignore_errors=True)
            except OSError:  # locked: its server lives
                continue
            finally:
                os.close(descriptor)


class DiskQuota:
    """Bytes that all bodies together may take on disk, those still to come included."""

    def __init__(self, limit: int | None, retry_after_s: Callable[[], int] = lambda: 1) -> None:
        """Starts empty.

        Args:
            limit: bytes; None: no limit.
            retry_after_s: when there should be room again.
        """
        self._limit, self._retry_after_s = limit, retry_after_s
        self.held = 0

    def share(self) -> "Reservation":
        """Returns one body's share, empty at first; to be used in a `with`."""
        return Reservation(self)

    def take(self, count: int) -> None:
        """Takes bytes.

        Raises:
            QueueFull: there is no room for them now.
        """
        if self._limit is not None and self.held + count > self._limit:
            raise QueueFull(self._retry_after_s())
        self.held += count


class Reservation:
    """What one body holds of the quota; given back at the end of the `with`."""

    def __init__(self, quota: DiskQuota) -> None:
        self._quota = quota
        self._held = 0

    def grow_to(self, size: int) -> None:
        """Holds at least so many bytes.

        Raises:
            QueueFull: there is no room for them now.
        """
        if size > self._held:
            self._quota.take(size - self._held)
            self._held = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._quota.held -= self._held
        self._held = 0
