"""Feature files of many videos -> one pack.

Rows are only ever added at the end and the index is replaced last. So a pack that was cut short
goes on where its index ends, and one that is mapped elsewhere stays as it was.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import torch

from extract.errors import FeatureFileInvalid
from extract.packed import INDEX, ROWS, PackedVideo, PackIndex, Source
from extract.store import FeatureStore, StoredRows
from extract.track_file import regular_length
from extract.windows import cut_windows

LOCK = "lock"
VIDEOS_PER_COMMIT = 64


def pack(
    store: FeatureStore,
    video_ids: Sequence[str],
    path: Path,
    *,
    num_frames: Callable[[], Mapping[str, int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Adds to the pack at `path` the rows of those videos that are not in it yet.

    One file is in memory at a time. A video whose file has changed is packed again; files that
    have not changed are not read, and those that are gone are not missed.

    Args:
        store: where the feature files are.
        video_ids: what the pack must hold; what else it holds stays.
        path: folder of the pack; made if need be.
        num_frames: called when there is something to pack; lengths of the videos it knows.
        progress: called with (videos done, videos to do).

    Raises:
        KeyError: videos without a file, all of them, in `args`.
        FeatureFileInvalid: a file is no track, or unlike the others.
    """
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        index = _usable_index(path, store)
        todo = [v for v in dict.fromkeys(video_ids) if index is None or v not in index.videos]
        absent = [video for video in todo if store.find(video) is None]
        if absent:
            raise KeyError(*absent)
        if not todo:
            return
        lengths = num_frames() if num_frames else {}
        with (path / ROWS).open("ab") as file:
            file.truncate(index.num_bytes if index else 0)
            for done, video in enumerate(todo, 1):
                index = _append(store, video, index, file, lengths.get(video))
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
    stated_frames: int | None,
) -> PackIndex:
    """Writes a video's rows behind the others and notes where they are."""
    stored = store.find(video)
    assert stored is not None
    found = store.read_rows(video)
    source = Source(stored.name, stored.size, stored.version, found.sha256)
    width, dtype = found.features.shape[1], str(found.features.dtype).removeprefix("torch.")
    if index is None:
        index = PackIndex(found.encoder, width, dtype)
    ours, others = (found.encoder, width, dtype), (index.encoder, index.width, index.dtype)
    if ours != others:
        raise FeatureFileInvalid(f"{source.name}: expected what the others are, {others}: {ours}")
    if not bool(torch.isfinite(found.features).all()):
        raise FeatureFileInvalid(f"{source.name}: holds values that are not finite")
    frames = _length(found, stated_frames, source.name)
    rows = len(found.features)
    file.write(found.features.contiguous().numpy().data)
    index.videos[video] = PackedVideo(index.num_rows, rows, frames, source)
    index.num_rows += rows
    return index


def _length(found: StoredRows, stated: int | None, name: str) -> int:
    """Returns a video's length in frames: what its file says, else what is stated of it.

    Metadata and decoder may disagree on the last frames, and so by one window; more means that
    the file was made at another stride, as faulty files of an early release were.
    """
    rows = len(found.features)
    if found.num_frames is not None:
        return found.num_frames
    if stated is None or stated < 1:
        return regular_length(rows)
    expected = len(cut_windows(stated))
    if abs(expected - rows) > 1:
        raise FeatureFileInvalid(
            f"{name}: {stated} frames make {expected} windows of 32 every 16, the file has {rows}"
        )
    return stated if expected == rows else regular_length(rows)


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
