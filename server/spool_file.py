"""A file that is written as its bytes come in, off the event loop."""

import asyncio
import errno
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from server.errors import QueueFull

FULL_DISK_S = 30
"""When to come back if the disk itself is full; clips that leave make room."""

FLUSH_BYTES = 1 << 20
"""Bytes gathered before a write, so that a clip costs a handful of hops to the disk thread."""


class SpoolFile:
    """Gathers bytes and writes them when told to, so that writing can happen off the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.pending_bytes = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, data: bytes) -> None:
        """Gathers the next bytes."""
        self._pending.append(data)
        self.pending_bytes += len(data)
        self.size_bytes += len(data)

    async def settle(self, *, least: int = FLUSH_BYTES) -> None:
        """Writes what has been gathered, once it is worth the trip."""
        if self.pending_bytes >= least:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        data, self._pending, self.pending_bytes = b"".join(self._pending), [], 0
        view = memoryview(data)
        try:
            while view and self._file is not None:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise QueueFull(FULL_DISK_S) from error
