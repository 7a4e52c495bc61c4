"""Bytes that were fetched before, by their own hash: equal ones are kept once.

`blobs/SHA256` are the bytes, `refs/KEY` say which of them something was. Blobs are checked whenever
they are read, so a damaged one costs fetching it again; any file, or all, may be deleted.
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
    """Returns the cache of whoever runs this: where `EGOPACK_CACHE` says, else below home."""
    return Cache(Path(os.environ.get(FOLDER_VARIABLE) or FOLDER))


@dataclass(frozen=True)
class Cache:
    """A folder that any number of processes may use at once.

    Attributes:
        folder: holds it, among others; ~ for home.
    """

    folder: Path

    def get(self, digest: str, fetch: Callable[[Path], None]) -> bytes:
        """Returns the bytes that have this hash, fetching them where they are not.

        Whoever comes second waits and finds them. What a killed process was fetching is overwritten
        by the next: a file under its final name is whole.

        Args:
            digest: SHA-256, 64 hexadecimal digits.
            fetch: writes the bytes to a file.

        Raises:
            HashDiffers: what came is something else.
        """
        path = self._path("blobs", digest)
        found = self._sound(path, digest)
        if found is not None:
            return found
        with self._alone(digest):
            found = self._sound(path, digest)  # somebody else may have been faster
            if found is None:
                found = _fetched(path.with_suffix(".part"), path, digest, fetch)
        return found

    def through(self, key: str, read: Callable[[], bytes]) -> bytes:
        """Returns what is remembered under a key; what is not is read, and remembered."""
        data = self.recall(key)
        if data is None:
            data = read()
            self.remember(key, data)
        return data

    def recall(self, key: str) -> bytes | None:
        """Returns what was remembered under a key, or None where it is gone or damaged."""
        try:
            digest = self._ref(key).read_text()
            return self._sound(self._path("blobs", digest), digest)
        except (OSError, ValueError):
            return None

    def remember(self, key: str, data: bytes) -> None:
        """Keeps bytes under a key, in place of what was under it."""
        digest = sha256(data).hexdigest()

        def copy(path: Path) -> None:
            path.write_bytes(data)

        self.get(digest, copy)
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
        except OSError:  # there is none; what else may be wrong shows when it is written
            pass
        return None

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """Keeps two processes from fetching the same bytes; a killed one leaves nothing locked."""
        lock = self._path("locks", digest[:2])  # never removed, so there are few of them
        try:
            for path in (lock, self._path("blobs", digest), self._ref(digest)):
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("w")
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
            raise RemoteFailed(
                f"what comes from a URL cannot be kept in {self.folder}: {error}; name another "
                f"folder with {FOLDER_VARIABLE}"
            ) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def checked(data: bytes, digest: str) -> bytes:
    """Returns the data when this is its SHA-256.

    Raises:
        HashDiffers: it is not; the message says what came.
    """
    found = sha256(data).hexdigest()
    if found != digest:
        said = f"SHA-256 {found} over {len(data)} bytes"
        raise HashDiffers(said, expected=digest, found=found)
    return data


def _fetched(part: Path, path: Path, digest: str, fetch: Callable[[Path], None]) -> bytes:
    fetch(part)
    data = checked(part.read_bytes(), digest)
    os.replace(part, path)
    return data
