"""Files of a bundle as bytes, each checked against the manifest: read, write, push.

A part has its own name, as `save_bundle` writes it, or is `parts/SHA256`, as `push_files` does in
object storage. The latter lets two versions of a bundle share a folder: a reader of the older
manifest still finds all of its parts. A hub keeps versions itself, so names there are the parts'
own.
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

from weights.bundle.hub_card import README_FILE, hub_card
from weights.bundle.manifest import MANIFEST_FILE, Manifest
from weights.errors import BundleError, BundleMissing, HashDiffers, RemoteFailed
from weights.storage.cache import Cache, checked, default_cache
from weights.storage.folders import Folder, LocalFolder, Place, as_place, open_folder
from weights.storage.hub import SCHEME, HubFolder

logger = logging.getLogger(__name__)

CARD_FILE = "MODEL_CARD.md"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """A whole bundle in memory.

    Attributes:
        text: content of manifest.json.
        manifest: the same, parsed.
        parts: file name -> verified content.
    """

    text: bytes
    manifest: Manifest
    parts: dict[str, bytes]


def read_files(place: Place, *, cache: Cache | None = None) -> BundleFiles:
    """Returns a bundle's files.

    From a URL the manifest is always read anew, cached parts are not. If the URL is unreachable,
    the last manifest from there of which all parts were read is used, with a warning.

    Args:
        place: a folder, or the URL of one.
        cache: of a URL's files; default: `default_cache()`.

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
        cached = cache.find(key)
        if cached is None:
            raise
        logger.warning("%s; using the last bundle that was read from there", error)
        text = cached
    manifest = _parsed(text)
    parts = _parts(manifest, partial(_through_cache, cache, folder))
    cache.store(key, text)
    return BundleFiles(text, manifest, parts)


def manifest_sha256(place: Place) -> str:
    """Returns the SHA-256 of a bundle's current manifest, hence of the bundle.

    Raises:
        BundleMissing: there is no manifest at the place.
        RemoteFailed: it cannot be reached.
    """
    return hashlib.sha256(_read_manifest(open_folder(place), place)).hexdigest()


def write_files(files: BundleFiles, folder: Path) -> None:
    """Writes a bundle to a folder, in place of the one before; it appears whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in {**files.parts, MANIFEST_FILE: files.text}.items():
        (fresh / name).write_bytes(data)
    _swap(fresh, folder)


def push_files(
    files: BundleFiles,
    place: Place,
    *,
    private: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> Place:
    """Publishes a bundle; returns the address at which it can be read from then on.

    Until the last step readers see the previous bundle: in a folder, parts that are missing are
    uploaded, then the manifest; on a hub all of it is one commit, which the address names. An
    interrupted push continues when it is run again.

    Args:
        files: of the bundle.
        place: a folder, the URL of one, or a hub's repository, which is made if there is none.
        private: whether a repository is, or has to be, private; nothing elsewhere.
        progress: gets the size of each part that is there.

    Raises:
        OSError: it cannot be written; of a URL a RemoteFailed.
    """
    folder = open_folder(place)
    if isinstance(folder, HubFolder):
        commit = _commit_to_hub(files, folder, private=private)
        progress(sum(map(len, files.parts.values())))
        return f"{SCHEME}{folder.repository}@{commit}"
    for name, data in files.parts.items():
        target = _shared_name(files.manifest.files[name]["sha256"])
        present = folder.facts(target)
        if present is None or present.size != len(data):
            folder.write(target, data)
        progress(len(data))
    folder.write(MANIFEST_FILE, files.text)
    return place


def _commit_to_hub(files: BundleFiles, folder: HubFolder, *, private: bool) -> str:
    """Commits a bundle in place of the one before; returns the commit's hash."""
    manifest = files.manifest
    card = files.parts.get(CARD_FILE, b"").decode()
    head = hub_card(manifest, card, folder.url)
    written = {**files.parts, README_FILE: head.encode(), MANIFEST_FILE: files.text}
    folder.create(private=private)
    try:
        before = set(_parsed(folder.read(MANIFEST_FILE)).files)
    except (FileNotFoundError, BundleError):
        before = set()
    removed = before.intersection(folder.files()) - set(written)
    message = f"{manifest.name} {manifest.version}"
    return folder.commit(written, removed=sorted(removed), message=message)


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
    """Reads every part; raises BundleError for the first that differs from the manifest."""
    parts = {}
    for name, facts in manifest.files.items():
        digest, size = str(facts.get("sha256")), facts.get("bytes")
        try:
            if Path(name).name != name or not _DIGEST.fullmatch(digest):
                raise FileNotFoundError  # no path traversal out of the bundle or the cache
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
    """Replaces `folder` by `fresh`; a reader sees the old bundle or the new one."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)
