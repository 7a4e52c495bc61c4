"""Folders of files, local, in object storage or on a model hub, behind one protocol.

The only importer of fsspec (s3:// and many more), and only for a URL: a path or a file:// URL
needs no fsspec.
"""

import logging
import os
import re
import stat
from argparse import ArgumentTypeError
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from weights.errors import RemoteFailed, RemoteMissing
from weights.storage import hub
from weights.storage.atomic import TEMPORARY, write_atomic
from weights.storage.remote import FileFacts, describe_error, version_of

logger = logging.getLogger(__name__)

Place = Path | str
"""Address of a folder, as `as_place` returns it: a path, or a URL as a string."""

EXTRA = 'pip install "egopack-server[scale]"'
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OTHER_ON_HUBS = re.compile("hf://(datasets|spaces|buckets|kernels)/")


class PlaceInvalid(ValueError, ArgumentTypeError):
    """An address that cannot name a folder; both argparse and pydantic show its message."""


def as_place(text: str | Path) -> Place:
    """Parses the address of a folder.

    Args:
        text: a path; `file:///a/path`; the URL of a folder, such as `s3://bucket/bundles/one`; or
            a model repository, `hf://owner/name` or `hf://owner/name@revision`.

    Raises:
        PlaceInvalid: it is a URL with a password or a query, names another machine's files, or is
            no repository.
    """
    if isinstance(text, Path) or not _URL.match(text):
        return Path(text)
    parts = urlsplit(text)
    if parts.password is not None or parts.query or parts.fragment:
        # The address is not in the message: its secrets must not get into logs.
        raise PlaceInvalid(
            f"an address in {parts.scheme}:// with a password or a query: expected the plain "
            "address of a folder; give secrets as the storage's own tools take them, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme.lower() == "file":
        if parts.netloc not in ("", "localhost"):
            raise PlaceInvalid(f"{text}: expected file:///PATH, with three slashes")
        return Path(unquote(parts.path))
    address = text.rstrip("/")
    if is_repository(text) and not hub.ADDRESS.fullmatch(address):
        raise PlaceInvalid(f"{text}: expected {hub.EXPECTED}")
    return address


class Folder(Protocol):
    """Files by name; a name may have one folder in it, as in `parts/one`."""

    @property
    def name(self) -> str:
        """The last component of its address."""

    def facts(self, name: str) -> FileFacts | None:
        """Metadata of a file; None when there is none."""

    def files(self) -> list[str]:
        """Names of the files directly below, in no order."""

    def read(self, name: str) -> bytes:
        """The content of a file; raises FileNotFoundError when there is none."""

    def fetch(self, name: str, path: Path) -> None:
        """Copies a file to a path, which is whole only when this returns."""

    def write(self, name: str, data: bytes) -> None:
        """Replaces the content of a file atomically."""

    def sweep(self, names: Collection[str]) -> None:
        """Removes the temporary files that interrupted writes of these files have left."""


def open_folder(place: Place) -> Folder:
    """Returns the folder at an address, without accessing it."""
    place = as_place(place)
    if isinstance(place, Path):
        return LocalFolder(place)
    return hub.HubFolder(place) if is_repository(place) else RemoteFolder(place)


def is_repository(place: Place) -> bool:
    """Returns whether an address is for a hub's model repository."""
    text = str(place)
    return text.startswith(hub.SCHEME) and not _OTHER_ON_HUBS.match(text)


@dataclass(frozen=True)
class LocalFolder:
    """A folder in the local file system, made by the first write."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def facts(self, name: str) -> FileFacts | None:
        path = self.path / name
        if not path.is_file():
            return None
        found = path.stat()
        return FileFacts(name, found.st_size, found.st_mtime_ns)

    def files(self) -> list[str]:
        return [p.name for p in self.path.iterdir()] if self.path.is_dir() else []

    def read(self, name: str) -> bytes:
        path = self.path / name
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{path} is not a regular file")
            return file.read()

    def fetch(self, name: str, path: Path) -> None:
        path.write_bytes(self.read(name))

    def write(self, name: str, data: bytes) -> None:
        write_atomic(self.path / name, data)

    def sweep(self, names: Collection[str]) -> None:
        for path in self.path.glob(".*.tmp"):
            left = TEMPORARY.fullmatch(path.name)
            if left and left["name"] in names:
                path.unlink(missing_ok=True)


class RemoteFolder:
    """A folder in object storage, of which the library does the retries.

    It is listed once, at the first lookup; later writes through this object update that listing.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._listed: dict[str, dict[str, FileFacts]] = {}
        self._opened: tuple[Any, str] | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def facts(self, name: str) -> FileFacts | None:
        return self._listing(name.rpartition("/")[0]).get(name)

    def files(self) -> list[str]:
        return list(self._listing(""))

    def read(self, name: str) -> bytes:
        with self._translated(name):
            system, root = self._system()
            data: bytes = system.cat_file(f"{root}/{name}")
        return data

    def fetch(self, name: str, path: Path) -> None:
        with self._translated(name):
            system, root = self._system()
            system.get_file(f"{root}/{name}", str(path), callback=_bar(name))

    def write(self, name: str, data: bytes) -> None:
        # A single PUT: object storage makes it atomic.
        with self._translated(name):
            system, root = self._system()
            system.pipe_file(f"{root}/{name}", data)
        listing = self._listed.get(name.rpartition("/")[0])
        if listing is not None:
            listing[name] = FileFacts(name, len(data), version_of(data))

    def sweep(self, names: Collection[str]) -> None:
        pass  # an interrupted write leaves no object

    def _listing(self, below: str) -> dict[str, FileFacts]:
        if below not in self._listed:
            with self._translated(below):
                system, root = self._system()
                try:
                    entries = system.ls(f"{root}/{below}".rstrip("/"), detail=True)
                except FileNotFoundError:
                    entries = []
            prefix = f"{below}/" if below else ""
            found = [_facts_of(prefix, entry) for entry in entries if entry["type"] == "file"]
            self._listed[below] = {facts.name: facts for facts in found}
        return self._listed[below]

    def _system(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        if self._opened is None:
            import fsspec

            # Listings are cached here, not there: a new folder must see what others wrote.
            self._opened = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        return self._opened

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Translates exceptions of a storage library, removing secrets from their messages."""
        where = f"{self.url}/{name}"
        try:
            yield
        except FileNotFoundError:
            raise RemoteMissing(f"{where}: there is no such file") from None
        except ImportError as error:
            raise RemoteFailed(f"{where}: {error}; {EXTRA}") from None
        except Exception as error:  # each library has its own, without a common base
            # Not chained: a traceback would show the secrets.
            raise RemoteFailed(f"{where}: {describe_error(error)}") from None


def _bar(name: str) -> Any:
    from fsspec.callbacks import TqdmCallback

    shown = {"desc": name[:40], "unit": "B", "unit_scale": True, "leave": False, "disable": None}
    return TqdmCallback(tqdm_kwargs=shown)


def _facts_of(prefix: str, entry: dict[str, Any]) -> FileFacts:
    name = str(entry["name"]).rstrip("/").rpartition("/")[2]
    known = sorted((key, str(value)) for key, value in entry.items() if key != "name")
    return FileFacts(prefix + name, int(entry["size"] or 0), version_of(repr(known).encode()))


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting: a FIFO without a writer would block its reader for ever."""
    return os.open(path, flags | os.O_NONBLOCK)
