"""Fetch of a published backbone: download, verify, convert to safetensors.

A folder holds the tensors and a record with the checkpoint's SHA-256. The record outlives them: a
later fetch must give the same bytes, from whatever address.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from weights.authors.checkpoint import read_state
from weights.errors import CheckpointInvalid, FetchFailed, HashDiffers
from weights.published.catalogue import Published
from weights.published.download import Progress, download, public_address
from weights.storage.atomic import atomic_path, write_atomic

RECORD_FILE = "fetched.json"

Record = dict[str, Any]
"""Content of fetched.json: `name`, `address` (null for a checkpoint that was there), `licence`,
`checkpoint` and `tensors`; the last two are each `file`, `bytes` and `sha256`."""


def fetch(
    backbone: Published,
    folder: Path,
    *,
    url: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Record:
    """Returns the record of a backbone in a folder, downloading and converting it if need be.

    A checkpoint in the folder, under its published name, is used instead of a download. It is
    removed once its tensors are written.

    Args:
        backbone: which one.
        folder: of this backbone alone.
        url: address to download from; None means its publisher.
        progress: called after each chunk of the download.

    Raises:
        FetchFailed: it cannot be downloaded, or is not the recorded file.
        CheckpointInvalid: it is no checkpoint, or not of this backbone.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            record = _read_record(folder, backbone.name)
            expected = backbone.sha256 or (record["checkpoint"]["sha256"] if record else None)
            if record and record["checkpoint"]["sha256"] == expected and _is_whole(folder, record):
                return record
            return _make(backbone, folder, url or backbone.url, expected, progress)
    except OSError as error:
        raise FetchFailed(
            f"{folder}: {error.strerror or error}; what was downloaded is kept: put that right "
            "and run again"
        ) from error


def load_fetched(backbone: Published, folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of a fetched backbone, under their published names.

    Raises:
        FetchFailed: it is not there; the message names the command that fetches it.
        HashDiffers: the file is not the one that was fetched.
    """
    record = _read_record(folder, backbone.name)
    path = folder / f"{backbone.name}.safetensors"
    if record is None or not path.is_file():
        accept = " --accept-license" if backbone.non_commercial else ""
        raise FetchFailed(
            f"{backbone.name} is not in {folder}: fetch it with "
            f"python -m weights fetch {backbone.name}{accept} --out {folder}"
        )
    expected, found = record["tensors"]["sha256"], _facts(path)["sha256"]
    if found != expected:
        raise HashDiffers(
            f"{path} has SHA-256 {found}, {RECORD_FILE} beside it says {expected}: remove the "
            "file and fetch it again",
            expected=expected,
            found=found,
        )
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def _make(
    backbone: Published, folder: Path, url: str, expected: str | None, progress: Progress
) -> Record:
    checkpoint = folder / backbone.file
    tensors = folder / f"{backbone.name}.safetensors"
    address = None
    if not checkpoint.exists():
        download(url, checkpoint, progress=progress)
        address = public_address(url)
    try:
        _refuse_page(checkpoint)
        facts = _facts(checkpoint)
        _compare(checkpoint, facts["sha256"], expected, is_published=backbone.sha256 is not None)
        _convert(checkpoint, backbone, tensors)
    except (CheckpointInvalid, HashDiffers):
        checkpoint.unlink()
        raise
    record = {
        "name": backbone.name,
        "address": address,
        "licence": backbone.licence,
        "checkpoint": facts,
        "tensors": _facts(tensors),
    }
    write_atomic(folder / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    checkpoint.unlink()
    return record


def _convert(checkpoint: Path, backbone: Published, path: Path) -> None:
    """Writes the trunk's tensors; the file's metadata names origin and licence."""
    state = read_state(checkpoint, backbone.entry).tensors
    # Copies, because one storage under two names cannot be saved.
    own = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    if not own:
        raise CheckpointInvalid(str(checkpoint), f"{backbone.entry}: holds no tensors")
    origin = f"{backbone.source}; licence: {backbone.licence}"
    try:
        with atomic_path(path) as fresh:
            save_file(own, fresh, metadata={"origin": origin})
    except SafetensorError as error:  # also of a full disk
        raise FetchFailed(f"{path}: cannot be written: {error}") from error


def _refuse_page(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointInvalid(
            str(path),
            "expected a checkpoint, found a web page: the address needs a login, has moved, or "
            "something on the way answers for it. Open it in a browser",
        )


def _compare(path: Path, found: str, expected: str | None, *, is_published: bool) -> None:
    """Refuses a file of another hash than is published or, without that, was recorded."""
    if expected is None or found == expected:
        return
    why = (
        "is what its publisher states: it was damaged or changed on the way"
        if is_published
        else f"came the first time, by {path.with_name(RECORD_FILE)}. Where you know that it was "
        "replaced, remove that record and run again"
    )
    raise HashDiffers(
        f"{path} has SHA-256 {found} and was removed; {expected} {why}",
        expected=expected,
        found=found,
    )


def _read_record(folder: Path, name: str) -> Record | None:
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    try:
        record: Record = json.loads(path.read_bytes())
        for part in (record["checkpoint"], record["tensors"]):
            if not all(isinstance(part[key], str) for key in ("file", "sha256")):
                raise TypeError
    except (ValueError, TypeError, KeyError) as error:
        # An error, not a fresh start: without the record any file would be accepted.
        raise FetchFailed(f"{path} is damaged; remove it to trust what comes next") from error
    if record.get("name") != name:
        raise FetchFailed(f"{folder} holds {record.get('name')}; give {name} a folder of its own")
    return record


def _is_whole(folder: Path, record: Record) -> bool:
    path = folder / Path(record["tensors"]["file"]).name
    return path.is_file() and _facts(path) == record["tensors"]


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256}


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Locks the folder against a second run; a killed run leaves no lock."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise FetchFailed(f"another run is fetching into {folder}; wait for it") from error
    finally:
        os.close(handle)
