"""Feature files of many videos -> one pack.

Rows are only ever added at the end and the index is replaced last. So a pack that was cut short
goes on where its index ends, and one that is mapped elsewhere stays as it was.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from extract.errors import FeatureFileInvalid
from extract.features.pack import INDEX, ROWS, PackedVideo, PackIndex, Source
from extract.features.store import FeatureStore
from extract.features.track_check import FeatureCheck, Kind

LOCK = "lock"
VIDEOS_PER_COMMIT = 64


def pack(
    store: FeatureStore,
    video_ids: Sequence[str],
    path: Path,
    *,
    check: FeatureCheck | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Adds to the pack at `path` the rows of those videos that are not in it yet.

    One file is in memory at a time. A video whose file has changed is packed again; files that
    have not changed are not read, and those that are gone are not missed.

    Args:
        store: where the feature files are.
        video_ids: what the pack must hold; what else it holds stays.
        path: folder of the pack; made if need be.
        check: looks at each file before it is packed; by default, only for what a file can tell.
        progress: called with (videos done, videos to do).

    Raises:
        KeyError: videos without a file, all of them, in `args`.
        FeatureFileInvalid: the check refuses a file.
    """
    check = check or FeatureCheck()
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        index = _usable_index(path, store)
        if index is not None:
            check.same(str(path), Kind(index.encoder, index.width, index.dtype))
        todo = [v for v in dict.fromkeys(video_ids) if index is None or v not in index.videos]
        absent = [video for video in todo if store.find(video) is None]
        if absent:
            raise KeyError(*absent)
        if not todo:
            return
        with (path / ROWS).open("ab") as file:
            file.truncate(index.num_bytes if index else 0)
            for done, video in enumerate(todo, 1):
                index = _append(store, video, index, file, check)
                if done % VIDEOS_PER_COMMIT == 0 or done == len(todo):
                    file.flush()
                    os.fsync(file.fileno())
                    index.write(path)
                if progress:
                    progress(done, len(todo))


def _append(
    store: FeatureStore,
    video: str,
    index: PackIndex | None,
    file: BinaryIO,
    check: FeatureCheck,
) -> PackIndex:
    """Writes a video's rows behind the others and notes where they are."""
    stored = store.find(video)
    assert stored is not None
    found = store.read_rows(video)
    frames = check.file(video, found)
    source = Source(stored.name, stored.size, stored.version, found.sha256)
    if index is None:
        kind = Kind.of(found.features, found.encoder)
        index = PackIndex(kind.encoder, kind.width, kind.dtype)
    rows = len(found.features)
    file.write(found.features.contiguous().numpy().data)
    index.videos[video] = PackedVideo(index.num_rows, rows, frames, source)
    index.num_rows += rows
    return index


def _usable_index(path: Path, store: FeatureStore) -> PackIndex | None:
    """Returns the index to go on from, or None with nothing left behind."""
    try:
        index = PackIndex.read(path)
    except FeatureFileInvalid:
        index = None
    if index is not None and index.is_covered(path):
        checked = {name: _checked(v, store, name) for name, v in index.videos.items()}
        fresh = {name: video for name, video in checked.items() if video is not None}
        if fresh:
            if fresh != index.videos:
                index.videos = fresh
                index.write(path)
            return index
    (path / INDEX).unlink(missing_ok=True)
    (path / ROWS).unlink(missing_ok=True)  # who has it mapped keeps it
    return None


def _checked(video: PackedVideo, store: FeatureStore, name: str) -> PackedVideo | None:
    """Returns the entry, its version brought up to date, or None where its file has changed."""
    file, known = store.find(name), video.source
    if file is None:
        return video
    if (file.name, file.size) != (known.name, known.size):
        return None
    if file.version == known.version:
        return video
    if hashlib.sha256(store.read_file(file.name)).hexdigest() != known.sha256:
        return None
    return replace(video, source=replace(known, version=file.version))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps a second process from packing here; it waits."""
    with (path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
