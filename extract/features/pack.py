"""Pack: the feature rows of many videos in one file, mapped into memory.

An epoch then reads the rows it needs from the page cache, whatever the data set's size. Rows are
appended and the index is replaced last, so an interrupted pack continues where its index ends and
one that another process has mapped stays valid.
"""

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_check import FeatureCheck, Kind

FORMAT = "egopack-pack/2"
ROWS, INDEX, LOCK = "rows.bin", "index.json", "lock"
VIDEOS_PER_COMMIT = 64
_DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Source:
    """The feature file of a video's rows.

    Attributes:
        name: of the file.
        size: in bytes.
        version: see `FileFacts`; a file of the same size and version is assumed unchanged.
        sha256: of its content, which decides when the version differs.
    """

    name: str
    size: int
    version: int
    sha256: str


@dataclass(frozen=True)
class PackedVideo:
    """Position of a video's rows.

    Attributes:
        offset: its first row.
        rows: number of its rows.
        frames: length of the video.
        source: their feature file.
    """

    offset: int
    rows: int
    frames: int
    source: Source


@dataclass
class PackIndex:
    """Index of the file of rows.

    Attributes:
        encoder: that made the features.
        width: D_in.
        dtype: "float32" or "float16".
        num_rows: rows in use; any after them are of an interrupted write.
        videos: position of each video; rows of no video were replaced by later ones.
    """

    encoder: EncoderId
    width: int
    dtype: str
    num_rows: int = 0
    videos: dict[str, PackedVideo] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of the rows in use."""
        return self.num_rows * self.width * _DTYPES[self.dtype].itemsize

    def is_covered(self, path: Path) -> bool:
        """Returns whether the pack's file has all rows of the index."""
        return (path / ROWS).is_file() and (path / ROWS).stat().st_size >= self.num_bytes

    def write(self, path: Path) -> None:
        """Replaces the pack's index atomically."""
        part = path / f"{INDEX}.part"
        part.write_text(json.dumps({"format": FORMAT, **asdict(self)}))
        os.replace(part, path / INDEX)

    @classmethod
    def read(cls, path: Path) -> "PackIndex":
        """Reads a pack's index.

        Raises:
            FeatureFileInvalid: there is none, or it is of another format.
        """
        try:
            values = json.loads((path / INDEX).read_text())
            if values.pop("format") != FORMAT or values["dtype"] not in _DTYPES:
                raise ValueError("another format")
            videos = {name: _video(facts) for name, facts in values["videos"].items()}
            encoder = EncoderId(**values["encoder"])
            return cls(**{**values, "encoder": encoder, "videos": videos})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FeatureFileInvalid(f"{path}: no packed features ({error})") from error


@dataclass(frozen=True, eq=False)
class PackedFeatures:
    """All rows of a pack, memory-mapped.

    Attributes:
        features: (R, D_in) float32 or float16, read-only.
        encoder: that made them.
        offset: video -> its first row.
        rows: video -> number of its rows.
        frames: video -> its length.
    """

    features: Tensor
    encoder: EncoderId
    offset: dict[str, int]
    rows: dict[str, int]
    frames: dict[str, int]

    @classmethod
    def open(cls, path: Path) -> "PackedFeatures":
        """Maps the pack in a folder.

        Raises:
            FeatureFileInvalid: the folder holds no pack, an empty or a damaged one.
        """
        index = PackIndex.read(path)
        if not index.videos or not index.is_covered(path):
            raise FeatureFileInvalid(
                f"{path / ROWS}: expected {index.num_bytes} bytes of {len(index.videos)} videos; "
                "delete the folder to pack again"
            )
        return cls(
            _map_rows(path / ROWS, index),
            index.encoder,
            {name: video.offset for name, video in index.videos.items()},
            {name: video.rows for name, video in index.videos.items()},
            {name: video.frames for name, video in index.videos.items()},
        )


def _video(facts: dict[str, Any]) -> PackedVideo:
    return PackedVideo(**{**facts, "source": Source(**facts["source"])})


def _map_rows(path: Path, index: PackIndex) -> Tensor:
    shape = (index.num_rows, index.width)
    array = np.memmap(path, dtype=index.dtype, mode="r", shape=shape)
    with warnings.catch_warnings():  # nothing writes to features
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def pack(
    store: FeatureStore,
    video_ids: Sequence[str],
    path: Path,
    *,
    check: FeatureCheck | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Adds to the pack at `path` the rows of those videos that are not in it yet.

    One file is in memory at a time. A video whose file has changed is packed again; unchanged files
    are not read, and packed videos need no file.

    Args:
        store: of the feature files.
        video_ids: videos that the pack must hold; others in it stay.
        path: folder of the pack, created if need be.
        check: of each file before it is packed; by default of the file by itself.
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
    """Appends a video's rows and adds them to the index."""
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
    """Returns the index to continue from, or None after removing an unusable pack."""
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
    (path / ROWS).unlink(missing_ok=True)  # processes that have it mapped keep it
    return None


def _checked(video: PackedVideo, store: FeatureStore, name: str) -> PackedVideo | None:
    """Returns the entry with its current version, or None where its file has changed."""
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
    """Holds the exclusive lock of a pack; other processes wait."""
    with (path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
