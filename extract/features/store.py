"""Feature store: one file per video, ours or the Ego4D release's, in a folder or behind a URL."""

import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from extract.errors import FeatureFileInvalid
from extract.features.ids import is_safe_id
from extract.features.track import EncoderId, FeatureTrack
from extract.features.track_file import bare_tensor, bare_track, parse_track, track_bytes
from weights.storage.cache import default_cache
from weights.storage.folders import LocalFolder, Place, as_place, open_folder
from weights.storage.remote import FileFacts

SAFETENSORS = ".safetensors"
PICKLES = (".pt", ".pth")


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The rows of one feature file.

    Attributes:
        name: of the file.
        place: folder and name.
        features: (L, D_in) float32 or float16.
        encoder: that made them.
        sha256: of the file.
        track: the track in one of our files; None of a bare tensor.
    """

    name: str
    place: str
    features: Tensor
    encoder: EncoderId
    sha256: str
    track: FeatureTrack | None = None

    @property
    def num_frames(self) -> int | None:
        """Length of the video; None where the file does not state it."""
        return None if self.track is None else self.track.num_frames

    def to_track(self, num_frames: int | None = None) -> FeatureTrack:
        """Returns the track; see `FeatureStore.read`."""
        if self.track is not None:
            return self.track
        return bare_track(self.features.float(), self.name, self.encoder, num_frames)


class FeatureStore:
    """A folder of feature tracks, named by ids of `extract.features.ids`.

    `<id>.safetensors` is ours: features, times and facts. `<id>.pt` or `<id>.pth` is a bare tensor
    as the Ego4D release has it, (N, D) or (N, 1, D), float32 or half. A bare tensor holds no times:
    window k is assumed to cover frames [16k, 16k + 32) at 30 fps. The video's length determines the
    last window; without it, the last window is assumed regular, i.e. the video 16 (N - 1) + 32
    frames long, which is at most 15 frames too much.

    Attributes:
        root: the folder, or the URL of one; created by the first write.
    """

    def __init__(self, root: Place) -> None:
        self.root = as_place(root)
        self._folder = open_folder(self.root)

    @property
    def name(self) -> str:
        """Last component of its place."""
        return self._folder.name

    @property
    def address(self) -> str:
        """The folder's absolute place, valid on any machine with the same storage."""
        return str(self.root.resolve()) if isinstance(self.root, Path) else self.root

    def has(self, video_id: str) -> bool:
        """Returns whether the video has a file, readable or not."""
        return self.find(video_id) is not None

    def find(self, video_id: str) -> FileFacts | None:
        """Returns the file of a video; ours goes before the release's."""
        if not is_safe_id(video_id):
            return None
        names = (f"{video_id}{suffix}" for suffix in (SAFETENSORS, *PICKLES))
        found = (self._folder.facts(name) for name in names)
        return next((facts for facts in found if facts is not None), None)

    def video_ids(self) -> list[str]:
        """Returns the ids of all videos with a file, sorted; other file names are ignored."""
        names = map(Path, self._folder.files())
        found = {name.stem for name in names if name.suffix in (SAFETENSORS, *PICKLES)}
        return sorted(filter(is_safe_id, found))

    def read(self, video_id: str, num_frames: int | None = None) -> FeatureTrack:
        """Returns the stored track of a video; files behind a URL are cached.

        Args:
            video_id: name of the file without its ending.
            num_frames: length of the video at 30 fps; used for bare tensors only.

        Raises:
            KeyError: there is no file for the video.
            FeatureFileInvalid: the file is not a track, or its length contradicts `num_frames`.
        """
        file = self._found(video_id)
        data = self._cached(file)
        if file.name.endswith(SAFETENSORS):
            return parse_track(data, file.name)
        features = bare_tensor(data, file.name).float()
        return bare_track(features, file.name, self._bare_encoder, num_frames)

    def read_rows(
        self, video_id: str, suffix: str | None = None, *, keep: bool = False
    ) -> StoredRows:
        """Returns the rows of a video in their stored precision.

        Args:
            video_id: name of the file without its ending.
            suffix: its ending; ours goes before the release's when None.
            keep: cache a file behind a URL, as `read` does.

        Raises:
            KeyError: there is no file for the video.
            FeatureFileInvalid: the file is not a track.
        """
        if suffix is None:
            file = self._found(video_id)
        else:
            found = self._folder.facts(self._name(video_id, suffix))
            if found is None:
                raise KeyError(video_id)
            file = found
        name, place = file.name, f"{self.root}/{file.name}"
        data = self._cached(file) if keep else self.read_file(name)
        digest = sha256(data).hexdigest()
        if name.endswith(SAFETENSORS):
            track = parse_track(data, name)
            return StoredRows(name, place, track.features, track.encoder, digest, track)
        features = bare_tensor(data, name)
        if features.dtype != torch.float16:
            features = features.float()
        return StoredRows(name, place, features, self._bare_encoder, digest)

    def read_file(self, name: str) -> bytes:
        """Returns the bytes of a file; raises FileNotFoundError where there is none."""
        return self._folder.read(name)

    def write(self, track: FeatureTrack) -> str:
        """Writes a track atomically and returns its file's name.

        Raises:
            ValueError: the video's id cannot be a file name.
            FeatureFileInvalid: a feature is infinite or NaN.
        """
        name = self._name(track.video_id, SAFETENSORS)
        self._check_finite(track.features, name)
        return self._put(name, track_bytes(track))

    def write_bare(self, track: FeatureTrack, *, half: bool = False) -> str:
        """Writes features alone as `<id>.pt`, the Ego4D release's layout; returns its name.

        Args:
            track: what to write.
            half: in float16, as the release's `_fp16` sets are.

        Raises:
            ValueError: the video's id cannot be a file name.
            FeatureFileInvalid: a feature is infinite or NaN, with `half` in float16.
        """
        name, features = self._name(track.video_id, ".pt"), track.features.cpu()
        stored = features.half() if half else features.clone()  # a view would save its whole base
        self._check_finite(stored, name)
        data = io.BytesIO()
        torch.save(stored, data)
        return self._put(name, data.getvalue())

    def sweep(self, video_ids: Collection[str]) -> None:
        """Removes temporary files that interrupted writes of these videos left."""
        self._folder.sweep({f"{video}{end}" for video in video_ids for end in (SAFETENSORS, ".pt")})

    def _check_finite(self, features: Tensor, name: str) -> None:
        if not bool(torch.isfinite(features).all()):
            kind = str(features.dtype).removeprefix("torch.")
            raise FeatureFileInvalid(
                f"{self.root}/{name}: not written, the encoder's features are not finite in {kind}"
            )

    @property
    def _bare_encoder(self) -> EncoderId:
        return EncoderId(self.name, "")

    def _cached(self, file: FileFacts) -> bytes:
        if isinstance(self._folder, LocalFolder):
            return self.read_file(file.name)
        key = f"{self.root}/{file.name} {file.size} {file.version}"
        return default_cache().read_through(key, partial(self.read_file, file.name))

    def _put(self, name: str, data: bytes) -> str:
        self._folder.write(name, data)
        return name

    def _name(self, video_id: str, suffix: str) -> str:
        if not is_safe_id(video_id):
            raise ValueError(f"{video_id!r} cannot name a feature file")
        return f"{video_id}{suffix}"

    def _found(self, video_id: str) -> FileFacts:
        file = self.find(video_id)
        if file is None:
            raise KeyError(video_id)
        return file
