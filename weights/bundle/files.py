"""The files of a bundle as bytes, each checked against the manifest: read, written, moved about.

A part lies under its own name, as `save_bundle` writes it, or under `parts/SHA256`, as `push_files`
does. The second way two versions of a bundle can lie in one folder, and whoever has the manifest of
the older one still finds all of it.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from weights.bundle.manifest import MANIFEST_FILE, Manifest
from weights.errors import BundleError, BundleMissing, HashDiffers, RemoteFailed
from weights.storage.cache import Cache, checked, default_cache
from weights.storage.folders import Folder, LocalFolder, Place, as_place, open_folder

logger = logging.getLogger(__name__)

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """What a bundle consists of.

    Attributes:
        text: of manifest.json.
        manifest: what it says.
        parts: file name -> content, as the manifest promises.
    """

    text: bytes
    manifest: Manifest
    parts: dict[str, bytes]


def read_files(place: Place, *, cache: Cache | None = None) -> BundleFiles:
    """Returns a bundle's files.

    Of a URL the manifest is always read anew, the parts that the cache holds are not. When it
    cannot be reached, the manifest of the last bundle that came whole from there is used, with a
    warning; its parts are checked like any others.

    Args:
        place: a folder, or the URL of one.
        cache: where what lies behind a URL is kept; by default the one of whoever runs this.

    Raises:
        BundleMissing: there is no manifest at the place.
        BundleError: a file is missing or changed.
        RemoteFailed: a URL cannot be reached, and the cache does not hold all of the bundle.
    """
    folder = open_folder(place)
    if isinstance(folder, LocalFolder):
        text = _read_manifest(folder, place)
        manifest = _parsed(text)
        return BundleFiles(text, manifest, _parts(manifest, partial(_from_folder, folder)))
    cache, key = cache or default_cache(), str(place)
    try:
        text = _read_manifest(folder, place)
    except RemoteFailed as error:
        remembered = cache.recall(key)
        if remembered is None:
            raise
        logger.warning("%s; going on with the bundle that last came from there", error)
        text = remembered
    manifest = _parsed(text)
    parts = _parts(manifest, partial(_through_cache, cache, folder))
    cache.remember(key, text)
    return BundleFiles(text, manifest, parts)


def manifest_sha256(place: Place) -> str:
    """Returns the hash by which the bundle that lies at a place now is known.

    Raises:
        BundleMissing: there is no manifest at the place.
        RemoteFailed: it cannot be reached.
    """
    return hashlib.sha256(_read_manifest(open_folder(place), place)).hexdigest()


def write_files(files: BundleFiles, folder: Path) -> None:
    """Writes a bundle where there is none, or another; it appears whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in {**files.parts, MANIFEST_FILE: files.text}.items():
        (fresh / name).write_bytes(data)
    _swap(fresh, folder)


def push_files(
    files: BundleFiles, place: Place, *, progress: Callable[[int], object] = lambda count: None
) -> None:
    """Puts a bundle where others read it: parts that are not there yet, then the manifest.

    Until the last step readers see what was there before, all of it. Broken off, it goes on with
    the next part when it is run again.

    Args:
        files: of the bundle.
        place: a folder, or the URL of one.
        progress: told of bytes that are there from now on.

    Raises:
        OSError: it cannot be written; of a URL a RemoteFailed.
    """
    folder = open_folder(place)
    for name, data in files.parts.items():
        target = _shared_name(files.manifest.files[name]["sha256"])
        known = folder.facts(target)
        if known is None or known.size != len(data):
            folder.write(target, data)
        progress(len(data))
    folder.write(MANIFEST_FILE, files.text)


def _read_manifest(folder: Folder, place: Place) -> bytes:
    try:
        return folder.read(MANIFEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        shown = as_place(place)
        raise BundleMissing(f"no {MANIFEST_FILE} in {shown}: is this a bundle?") from None


def _parsed(text: bytes) -> Manifest:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise BundleError(MANIFEST_FILE, expected="JSON", found=str(error)) from error
    if not isinstance(values, dict):
        raise BundleError(MANIFEST_FILE, expected="a JSON object", found=type(values).__name__)
    return Manifest.from_dict(values)


def _parts(manifest: Manifest, read: Callable[[str, str], bytes]) -> dict[str, bytes]:
    """Reads every part, naming the one that is not what the manifest promises."""
    parts = {}
    for name, facts in manifest.files.items():
        digest, size = str(facts.get("sha256")), facts.get("bytes")
        try:
            if Path(name).name != name or not _DIGEST.fullmatch(digest):
                raise FileNotFoundError  # nothing outside the bundle, or the cache, has a name here
            parts[name] = read(name, digest)
        except FileNotFoundError:
            expected = f"a file of {size} bytes"
            raise BundleError(name, expected=expected, found="no file") from None
        except HashDiffers as error:
            expected = f"SHA-256 {digest} over {size} bytes"
            raise BundleError(name, expected=expected, found=str(error)) from None
    return parts


def _from_folder(folder: Folder, name: str, digest: str) -> bytes:
    shared = _shared_name(digest)
    return checked(folder.read(shared if folder.facts(shared) else name), digest)


def _through_cache(cache: Cache, folder: Folder, name: str, digest: str) -> bytes:
    def fetch(path: Path) -> None:
        logger.info("fetching %s", name)
        try:
            folder.fetch(_shared_name(digest), path)
        except FileNotFoundError:
            folder.fetch(name, path)

    return cache.get(digest, fetch)


def _shared_name(digest: Any) -> str:
    return f"parts/{digest}"


def _swap(fresh: Path, folder: Path) -> None:
    """Puts `fresh` where `folder` is; a reader sees the old bundle or the new one."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)
