"""Atomic file writes: after a crash at any instant there is the old file or the whole new one."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.tmp")
"""Name of a temporary file; only a killed process leaves one."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which replaces `path` when the block ends.

    The file, then the folder, is synchronised to disk. If the block raises, the temporary file is
    removed and `path` stays as it was. Any number of processes may write the same path; its folder
    is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Writes a whole file as `atomic_path` does; text is encoded as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sync(path: Path) -> None:
    """Synchronises a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
