"""Content-addressed cache on disk, safe for concurrent processes.

`blobs/SHA256` are the bytes, `refs/KEY` the hash that a key refers to. A blob is verified at every
read, so a damaged one is only fetched again; any file, or all, may be deleted.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from weights.errors import HashDiffers, RemoteFailed
from weights.storage.atomic import write_atomic

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "EGOPACK_CACHE"
FOLDER = Path("~/.cache/egopack")


def default_cache() -> "Cache":
    """Returns the user's cache: in `EGOPACK_CACHE`, else in `~/.cache/egopack`."""
    return Cache(Path(os.environ.get(FOLDER_VARIABLE) or FOLDER))


@dataclass(frozen=True)
class Cache:
    """A cache in a folder; ~ stands for the home directory."""

    folder: Path

    def get(self, digest: str, fetch: Callable[[Path], object]) -> bytes:
        """Returns the bytes of a hash, fetched if they are missing, by one process at a time.

        A killed fetch leaves a partial file, which the next one overwrites.

        Args:
            digest: SHA-256, 64 hexadecimal digits.
            fetch: writes the bytes to a file.

        Raises:
            HashDiffers: other bytes were fetched.
        """
        path = self._path("blobs", digest)
        found = self._sound(path, digest)
        if found is not None:
            return found
        with self._lock(digest):
            found = self._sound(path, digest)  # another process may have been faster
            if found is None:
                part = path.with_suffix(".part")
                fetch(part)
                found = checked(part.read_bytes(), digest)
                os.replace(part, path)
        return found

    def read_through(self, key: str, read: Callable[[], bytes]) -> bytes:
        """Returns the bytes stored under a key, else reads and stores them."""
        data = self.find(key)
        if data is None:
            data = read()
            self.store(key, data)
        return data

    def find(self, key: str) -> bytes | None:
        """Returns the bytes stored under a key; None if there are none or they are damaged."""
        try:
            digest = self._ref(key).read_text()
            return self._sound(self._path("blobs", digest), digest)
        except (OSError, ValueError):
            return None

    def store(self, key: str, data: bytes) -> None:
        """Stores bytes under a key, in place of those before."""
        digest = sha256(data).hexdigest()
        self.get(digest, lambda path: path.write_bytes(data))
        write_atomic(self._ref(key), digest)

    def _path(self, kind: str, name: str) -> Path:
        return self.folder.expanduser() / kind / name

    def _ref(self, key: str) -> Path:
        return self._path("refs", sha256(key.encode()).hexdigest())

    def _sound(self, path: Path, digest: str) -> bytes | None:
        try:
            return checked(path.read_bytes(), digest)
        except HashDiffers:
            logger.warning("%s is damaged and is fetched again", path)
        except OSError:  # no such file; any other fault shows when it is written
            pass
        return None

    @contextmanager
    def _lock(self, digest: str) -> Iterator[None]:
        """Keeps two processes from fetching the same bytes; a killed one leaves no lock."""
        lock = self._path("locks", digest[:2])  # never removed, so there are few of them
        try:
            for path in (lock, self._path("blobs", digest), self._ref(digest)):
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("w")
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
            raise RemoteFailed(
                f"files from a URL cannot be cached in {self.folder}: {error}; set "
                f"{FOLDER_VARIABLE} to another folder"
            ) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def checked(data: bytes, digest: str) -> bytes:
    """Returns the data; raises HashDiffers unless this is its SHA-256."""
    found = sha256(data).hexdigest()
    if found != digest:
        message = f"SHA-256 {found} over {len(data)} bytes"
        raise HashDiffers(message, expected=digest, found=found)
    return data
