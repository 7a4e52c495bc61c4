"""A folder of files, on this machine or behind a URL, with one way to read and write either.

Only home of fsspec, which knows s3:// and many more; it is imported by what needs it, and a path,
or a file:// URL of one, never does.
"""

import logging
import re
from argparse import ArgumentTypeError
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from weights.errors import RemoteFailed, RemoteMissing
from weights.storage.atomic import TEMPORARY, write_atomic

logger = logging.getLogger(__name__)

Place = Path | str
"""Where a folder is, as `as_place` returns it: a path, or a URL as a string."""

EXTRA = 'pip install "egopack-server[scale]"'
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRETS = re.compile(r"\?[^\s'\")]+|(?<=://)[^\s/@]+@")


class PlaceInvalid(ValueError, ArgumentTypeError):
    """An address that cannot name a folder; both argparse and pydantic show its message."""


def as_place(text: str | Path) -> Place:
    """Returns the folder that a person named.

    Args:
        text: a path; `file:///a/path`; or the URL of a folder, such as `s3://bucket/bundles/one`.

    Raises:
        PlaceInvalid: it is a URL with a password or a query, or names another machine's files.
    """
    if isinstance(text, Path) or not _URL.match(text):
        return Path(text)
    parts = urlsplit(text)
    if parts.password is not None or parts.query or parts.fragment:
        # Not repeated in the message: this is what must not be in logs.
        raise PlaceInvalid(
            f"an address in {parts.scheme}:// with a password or a query: expected the plain "
            "address of a folder; give secrets as the storage's own tools take them, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme.lower() == "file":
        if parts.netloc not in ("", "localhost"):
            raise PlaceInvalid(f"{text}: expected file:///PATH, with three slashes")
        return Path(unquote(parts.path))
    return text.rstrip("/")


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file without reading it.

    Attributes:
        name: below its folder.
        size: in bytes.
        version: changes when the file is written: its time in ns, or a digest of what the storage
            says of it.
    """

    name: str
    size: int
    version: int


class Folder(Protocol):
    """Files by name; a name may have one folder in it, as in `parts/one`."""

    @property
    def name(self) -> str:
        """The last step of its place."""
        ...

    def facts(self, name: str) -> FileFacts | None:
        """What is known of a file; None when there is none."""
        ...

    def files(self) -> list[str]:
        """Names of the files directly below, in no order."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file; `FileNotFoundError` when there is none."""
        ...

    def fetch(self, name: str, path: Path) -> None:
        """Writes a file's content to a path, which is only whole when this returns."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Makes this the content of a file, which appears whole or not at all."""
        ...

    def sweep(self, names: Collection[str]) -> None:
        """Removes what writes of these files that were cut short have left."""
        ...


def open_folder(place: Place) -> Folder:
    """Returns the folder at a place; nothing is asked of it yet."""
    place = as_place(place)
    return LocalFolder(place) if isinstance(place, Path) else RemoteFolder(place)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine, made by the first write.

    Attributes:
        path: of it.
    """

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
        return (self.path / name).read_bytes()

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
    """A folder behind a URL. Retries are the storage library's; what it gives up on is an error.

    What is there is listed once, when first asked for; what is written here is known from then on.

    Attributes:
        url: of the folder.
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
        # One object, put in one go: object storage shows it whole or not at all.
        with self._translated(name):
            system, root = self._system()
            system.pipe_file(f"{root}/{name}", data)
        listing = self._listed.get(name.rpartition("/")[0])
        if listing is not None:
            listing[name] = FileFacts(name, len(data), _number(data))

    def sweep(self, names: Collection[str]) -> None:
        pass  # a write that was cut short leaves nothing to see

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
        """The storage and our path in it."""
        if self._opened is None:
            import fsspec

            # Listings are kept here, not there: a second look must see what others wrote.
            self._opened = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        return self._opened

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turns whatever a storage raises into our errors, without the secrets it may repeat."""
        where = f"{self.url}/{name}"
        try:
            yield
        except FileNotFoundError:
            raise RemoteMissing(f"{where}: there is no such file") from None
        except ImportError as error:
            raise RemoteFailed(f"{where}: {error}; {EXTRA}") from None
        except Exception as error:  # each storage has its own, and no common root
            said = _SECRETS.sub("…", str(error)) or "no reason given"
            # Not chained: a traceback would show what was just taken out.
            raise RemoteFailed(f"{where}: {type(error).__name__}: {said}") from None


def _bar(name: str) -> Any:
    from fsspec.callbacks import TqdmCallback

    shown = {"desc": name[:40], "unit": "B", "unit_scale": True, "leave": False, "disable": None}
    return TqdmCallback(tqdm_kwargs=shown)


def _facts_of(prefix: str, entry: dict[str, Any]) -> FileFacts:
    name = str(entry["name"]).rstrip("/").rpartition("/")[2]
    known = sorted((key, str(value)) for key, value in entry.items() if key != "name")
    return FileFacts(prefix + name, int(entry["size"] or 0), _number(repr(known).encode()))


def _number(data: bytes) -> int:
    """A digest that fits 56 bits."""
    return int.from_bytes(sha256(data).digest()[:7], "big")
