"""File formats of a feature track: safetensors with metadata, and the Ego4D release's bare tensors.

Pickles are read with `weights_only=True` only.
"""

import io
import json
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from extract.contract import OMNIVORE
from extract.errors import FeatureFileInvalid
from extract.features.track import EncoderId, FeatureTrack
from extract.windows import count_windows

FORMAT = "egopack-track/1"

MAX_HEADER_BYTES = 64 * 1024
"""Size limit of a file's header, which takes less than 1 KiB: parsed JSON takes far more memory."""


def track_bytes(track: FeatureTrack) -> bytes:
    """Returns a track as a safetensors file, which `read_track` reads."""
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
    if (track.origin_s, track.ticks_per_s) != (0.0, track.fps):
        facts |= {"origin_s": track.origin_s, "ticks_per_s": track.ticks_per_s}
    tensors = {
        "features": track.features.cpu().contiguous(),
        "start_s": track.start_s.cpu().contiguous(),
        "end_s": track.end_s.cpu().contiguous(),
    }
    return _ordered(save(tensors, metadata={k: json.dumps(v) for k, v in facts.items()}))


def regular_length(num_rows: int) -> int:
    """Returns the frames of a video whose last released window is a regular one."""
    return OMNIVORE.stride_frames * (num_rows - 1) + OMNIVORE.window_frames


def _ordered(data: bytes) -> bytes:
    """Returns the safetensors file with a sorted header and the hash of its tensors in it.

    The library's order differs between runs.
    """
    header, tensors = _split(data)
    header["__metadata__"]["sha256"] = sha256(tensors).hexdigest()
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns the header and the tensors of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def read_track(path: Path) -> FeatureTrack:
    """Returns the track in a file of `track_bytes`, of any file name.

    Raises:
        FeatureFileInvalid: the file is not a track.
    """
    return parse_track(path.read_bytes(), path.name)


def parse_track(data: bytes, name: str) -> FeatureTrack:
    """Returns the track in the bytes of such a file, checked against the hash in it.

    Raises:
        FeatureFileInvalid: it is not a track.
    """
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise FeatureFileInvalid(f"{name}: its header is longer than {MAX_HEADER_BYTES} bytes")
    try:
        tensors = load(data)
        header, content = _split(data)
        found = header.get("__metadata__", {})
        if found.pop("sha256", None) not in (None, sha256(content).hexdigest()):
            raise FeatureFileInvalid(f"{name}: damaged, its tensors are not those of its SHA-256")
        facts = {k: json.loads(v) for k, v in found.items()}
        if facts.get("format") != FORMAT:
            raise FeatureFileInvalid(f"{name}: expected {FORMAT}, got {facts.get('format')}")
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
            origin_s=float(facts.get("origin_s", 0.0)),
            ticks_per_s=float(facts.get("ticks_per_s", facts["fps"])),
        )
    except (
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise FeatureFileInvalid(f"{name}: {error}") from error


def bare_tensor(data: bytes, name: str) -> Tensor:
    """Returns the tensor in a file of the release, (N, D), in its stored precision.

    Raises:
        FeatureFileInvalid: it is not such a tensor.
    """
    try:
        features = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise FeatureFileInvalid(f"{name}: not a tensor file") from error
    if isinstance(features, Tensor) and features.ndim == 3 and features.shape[1] == 1:
        features = features.squeeze(1)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) == 0:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise FeatureFileInvalid(f"{name}: expected (N, D) or (N, 1, D), got {found}")
    return features


def bare_track(
    features: Tensor, name: str, encoder: EncoderId, num_frames: int | None
) -> FeatureTrack:
    """Returns the track of a bare tensor, with the times of the release's windows.

    Args:
        features: (N, D) float32.
        name: of the file; the video's id and an ending.
        encoder: that made them.
        num_frames: length of the video at 30 fps; None takes the last window as regular.

    Raises:
        FeatureFileInvalid: the length contradicts the number of rows.
    """
    count = len(features)
    if num_frames is None:
        num_frames = regular_length(count)
    if (made := count_windows(num_frames)) != count:
        raise FeatureFileInvalid(
            f"{name}: {num_frames} frames make {made} windows, the file has {count}"
        )
    return FeatureTrack.of_windows(features, num_frames, OMNIVORE, encoder, Path(name).stem)
