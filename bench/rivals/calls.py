"""Calls shared by the rival servers: decode, encode, reason."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from extract.decode.clip import DecodedClip, Limits
from extract.decode.video import decode_clip
from extract.features.extractor import track_from
from extract.features.track import FeatureTrack
from extract.windows import stack_windows
from model.predict.predictor import Predictor, PredictRequest
from weights import SHIPPED_BUNDLE


def parse_arguments(doc: str | None) -> argparse.Namespace:
    """Returns where to listen, what to serve, and with how many workers."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument("--workers", type=int, default=1, help="copies of the model")
    parser.add_argument("--threads", type=int, help="torch's; default: torch's own choice")
    return parser.parse_args()


def load(bundle: Path, threads: int | None) -> Predictor:
    """Returns the loaded model."""
    if threads is not None:
        torch.set_num_threads(threads)
    return Predictor.from_bundle(bundle)


@contextmanager
def on_disk(upload: IO[bytes]) -> Iterator[Path]:
    """Yields a path to an upload, as decoders open files."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        shutil.copyfileobj(upload, file)
        file.flush()
        yield Path(file.name)


def decode(predictor: Predictor, path: Path) -> tuple[DecodedClip, Tensor]:
    """Returns a clip and its windows, (L, T, H, W, 3) uint8."""
    clip = decode_clip(path, predictor.encoder.contract, Limits())
    windows = stack_windows(clip.frames, predictor.encoder.contract, clip.num_frames)
    return clip, torch.as_tensor(windows)


def track_of(predictor: Predictor, clip: DecodedClip, features: Tensor) -> FeatureTrack:
    """Returns a clip's features, (L, D_in), with their times."""
    return track_from(features, clip.num_frames, predictor.encoder, "clip")


def reason(predictor: Predictor, tracks: Sequence[FeatureTrack]) -> list[dict[str, Any]]:
    """Returns the answers to some clips as plain values."""
    tasks = frozenset(predictor.tasks)
    return [
        asdict(found) for found in predictor.predict([PredictRequest(t, tasks) for t in tracks])
    ]


def answer(predictor: Predictor, path: Path) -> dict[str, Any]:
    """Returns the answers to one clip, all stages one after the other."""
    clip, windows = decode(predictor, path)
    features = predictor.encoder.encode(windows)
    return reason(predictor, [track_of(predictor, clip, features)])[0]


def answer_together(
    predictor: Predictor, decoded: Sequence[tuple[DecodedClip, Tensor]]
) -> list[dict[str, Any]]:
    """Returns the answers to some decoded clips, all windows encoded in one batch."""
    features = predictor.encoder.encode(torch.cat([windows for _, windows in decoded]))
    parts = features.split([len(windows) for _, windows in decoded])
    tracks = [
        track_of(predictor, clip, part) for (clip, _), part in zip(decoded, parts, strict=True)
    ]
    return reason(predictor, tracks)
