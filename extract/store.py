"""Feature tracks on disk: one file per video, ours or the Ego4D release's.

Only home of safetensors in this package; pickles are read with `weights_only=True` only.
"""

import io
import json
import os
import pickle
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from extract.errors import FeatureFileInvalid
from extract.track import EncoderId, FeatureTrack
from extract.windows import cut_windows, window_times

FORMAT = "egopack-track/1"
SAFETENSORS = ".safetensors"
PICKLES = (".pt", ".pth")
_RELEASE_FPS = 30.0
_RELEASE_WINDOW = 32
_RELEASE_STRIDE = 16
_PARTIAL = re.compile(r"\.(?P<id>.+)\.(safetensors|pt)\.[0-9a-f]{32}\.tmp")
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The rows of one feature file.

    Attributes:
        features: (L, D_in) float32 or float16.
        encoder: who made them.
        num_frames: length of the video; None where the file does not say.
    """

    features: Tensor
    encoder: EncoderId
    num_frames: int | None


class FeatureStore:
    """A folder of feature tracks.

    `<id>.safetensors` is ours: features, times and facts. `<id>.pt` or `<id>.pth` is a bare tensor
    as the Ego4D release has it, (N, D) or (N, 1, D), float32 or half. A bare tensor holds no times:
    window k is taken to cover frames [16k, 16k + 32) at 30 fps. The length of the video then
    decides where the last window lies; without it, the last window is taken as regular, i.e. the
    video as 16 (N - 1) + 32 frames long, which is at most 15 frames too much.

    Attributes:
        root: the folder; made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def has(self, video_id: str) -> bool:
        """Tells whether a file for the video is there, readable or not."""
        return self.find(video_id) is not None

    def find(self, video_id: str) -> Path | None:
        """Returns the file of a video; ours goes before the release's."""
        if not is_safe_id(video_id):
            return None
        paths = (self.root / f"{video_id}{suffix}" for suffix in (SAFETENSORS, *PICKLES))
        return next((path for path in paths if path.is_file()), None)

    def video_ids(self) -> list[str]:
        """Returns every video with a file, sorted."""
        suffixes = (SAFETENSORS, *PICKLES)
        if not self.root.is_dir():
            return []
        return sorted({p.stem for p in self.root.iterdir() if p.suffix in suffixes})

    def read(self, video_id: str, num_frames: int | None = None) -> FeatureTrack:
        """Returns the stored track of a video.

        Args:
            video_id: name of the file without its ending.
            num_frames: length of the video at 30 fps; used for bare tensors only.

        Raises:
            KeyError: there is no file for the video.
            FeatureFileInvalid: the file is not a track, or its length contradicts `num_frames`.
        """
        path = self._found(video_id)
        if path.suffix == SAFETENSORS:
            return read_track(path)
        return _bare_track(_read_bare(path).float(), path, num_frames)

    def read_rows(self, video_id: str, suffix: str | None = None) -> StoredRows:
        """Returns the rows of a video in the precision they are stored in.

        Args:
            video_id: name of the file without its ending.
            suffix: its ending; ours goes before the release's when None.

        Raises:
            KeyError: there is no file for the video.
            FeatureFileInvalid: the file is not a track.
        """
        path = self._found(video_id) if suffix is None else self._path(video_id, suffix)
        if not path.is_file():
            raise KeyError(video_id)
        if path.suffix == SAFETENSORS:
            track = read_track(path)
            return StoredRows(track.features, track.encoder, track.num_frames)
        features = _read_bare(path)
        is_half = features.dtype == torch.float16
        return StoredRows(features if is_half else features.float(), _bare_encoder(path), None)

    def write(self, track: FeatureTrack) -> Path:
        """Writes a track and returns its path; the file appears whole or not at all.

        Raises:
            ValueError: the video's id cannot be a file name.
        """
        return self._replace(self._path(track.video_id, SAFETENSORS), track_bytes(track))

    def write_bare(self, track: FeatureTrack, *, half: bool = False) -> Path:
        """Writes features alone as `<id>.pt`, the Ego4D release's layout; returns the path.

        Args:
            track: what to write.
            half: in float16, as the release's `_fp16` sets are.

        Raises:
            ValueError: the video's id cannot be a file name.
        """
        features = track.features.cpu()
        data = io.BytesIO()
        # Cloned: a view would drag its base along.
        torch.save(features.half() if half else features.clone(), data)
        return self._replace(self._path(track.video_id, ".pt"), data.getvalue())

    def sweep(self, video_ids: Collection[str]) -> None:
        """Removes what writes of these videos that were cut short have left."""
        for path in self.root.glob(".*.tmp"):
            partial = _PARTIAL.fullmatch(path.name)
            if partial and partial["id"] in video_ids:
                path.unlink(missing_ok=True)

    def _path(self, video_id: str, suffix: str) -> Path:
        if not is_safe_id(video_id):
            raise ValueError(f"{video_id!r} cannot name a feature file")
        return self.root / f"{video_id}{suffix}"

    def _found(self, video_id: str) -> Path:
        path = self.find(video_id)
        if path is None:
            raise KeyError(video_id)
        return path

    def _replace(self, path: Path, data: bytes) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        fresh = self.root / f".{path.name}.{uuid.uuid4().hex}.tmp"
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return path


def is_safe_id(video_id: str) -> bool:
    """Tells whether a video's id can name a file in any folder."""
    return _SAFE_ID.fullmatch(video_id) is not None


def track_bytes(track: FeatureTrack) -> bytes:
    """Returns a track as the safetensors file that `read_track` reads."""
    facts = {
        "format": FORMAT,
        "video_id": track.video_id,
        "fps": track.fps,
        "num_frames": track.num_frames,
        "stride_frames": track.stride_frames,
        "is_padded": track.is_padded,
        "encoder_name": track.encoder.name,
        "encoder_fingerprint": track.encoder.fingerprint,
    }
    tensors = {
        "features": track.features.cpu().contiguous(),
        "start_s": track.start_s.cpu().contiguous(),
        "end_s": track.end_s.cpu().contiguous(),
    }
    return _ordered(save(tensors, metadata={k: json.dumps(v) for k, v in facts.items()}))


def regular_length(num_rows: int) -> int:
    """Returns the frames of a video whose last released window lies where the others would."""
    return _RELEASE_STRIDE * (num_rows - 1) + _RELEASE_WINDOW


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with a sorted header: the library's order differs by run."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _bare_encoder(path: Path) -> EncoderId:
    return EncoderId(path.parent.name, "")


def read_track(path: Path) -> FeatureTrack:
    """Returns the track in one of our files, whatever the file is called.

    Raises:
        FeatureFileInvalid: the file is not a track.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if facts.get("format") != FORMAT:
            raise FeatureFileInvalid(f"{path.name}: expected {FORMAT}, got {facts.get('format')}")
        return FeatureTrack(
            features=tensors["features"],
            start_s=tensors["start_s"],
            end_s=tensors["end_s"],
            fps=float(facts["fps"]),
            video_id=str(facts["video_id"]),
            encoder=EncoderId(str(facts["encoder_name"]), str(facts["encoder_fingerprint"])),
            num_frames=int(facts["num_frames"]),
            stride_frames=int(facts["stride_frames"]),
            is_padded=bool(facts["is_padded"]),
        )
    except (
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise FeatureFileInvalid(f"{path.name}: {error}") from error


def _read_bare(path: Path) -> Tensor:
    try:
        features = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise FeatureFileInvalid(f"{path.name}: not a tensor file") from error
    if isinstance(features, Tensor) and features.ndim == 3 and features.shape[1] == 1:
        features = features.squeeze(1)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) == 0:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise FeatureFileInvalid(f"{path.name}: expected (N, D) or (N, 1, D), got {found}")
    return features


def _bare_track(features: Tensor, path: Path, num_frames: int | None) -> FeatureTrack:
    count = len(features)
    if num_frames is None:
        num_frames = regular_length(count)
    starts = cut_windows(num_frames, window_frames=_RELEASE_WINDOW, stride_frames=_RELEASE_STRIDE)
    if len(starts) != count:
        raise FeatureFileInvalid(
            f"{path.name}: {num_frames} frames make {len(starts)} windows, the file has {count}"
        )
    start_s, end_s = window_times(
        starts, fps=_RELEASE_FPS, window_frames=_RELEASE_WINDOW, num_frames=num_frames
    )
    return FeatureTrack(
        features=features,
        start_s=start_s,
        end_s=end_s,
        fps=_RELEASE_FPS,
        video_id=path.stem,
        encoder=_bare_encoder(path),
        num_frames=num_frames,
        stride_frames=_RELEASE_STRIDE,
        is_padded=num_frames < _RELEASE_WINDOW,
    )
