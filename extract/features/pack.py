"""One file with the rows of many videos, mapped into memory: what is in it, and how to open it.

An epoch then reads the rows it needs from the page cache, whatever the data set's size.
"""

import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from extract.errors import FeatureFileInvalid
from extract.features.track import EncoderId

FORMAT = "egopack-pack/2"
ROWS, INDEX = "rows.bin", "index.json"
_DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Source:
    """The feature file a video's rows came from.

    Attributes:
        name: of the file.
        size: in bytes.
        version: see `FileFacts`; the same size and version are taken for the same file.
        sha256: of its content, which decides when the version differs.
    """

    name: str
    size: int
    version: int
    sha256: str


@dataclass(frozen=True)
class PackedVideo:
    """Where a video's rows lie.

    Attributes:
        offset: its first row.
        rows: number of its rows.
        frames: length of the video.
        source: where they came from.
    """

    offset: int
    rows: int
    frames: int
    source: Source


@dataclass
class PackIndex:
    """What the file of rows holds.

    Attributes:
        encoder: who made the features.
        width: D_in.
        dtype: "float32" or "float16".
        num_rows: rows that count; what follows them in the file was cut short.
        videos: where each video lies; rows of none were replaced by later ones.
    """

    encoder: EncoderId
    width: int
    dtype: str
    num_rows: int = 0
    videos: dict[str, PackedVideo] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of the rows that count."""
        return self.num_rows * self.width * _DTYPES[self.dtype].itemsize

    def is_covered(self, path: Path) -> bool:
        """Tells whether the pack's file has all the rows that the index speaks of."""
        return (path / ROWS).is_file() and (path / ROWS).stat().st_size >= self.num_bytes

    def write(self, path: Path) -> None:
        """Replaces the pack's index; it appears whole or not at all."""
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
    """All rows of a pack, mapped: they are read from disk when they are touched.

    Attributes:
        features: (R, D_in) float32 or float16, read-only.
        encoder: who made them.
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
