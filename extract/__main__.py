"""python -m extract VIDEO|DIR ... --out DIR --encoder NAME: features of an operator's own videos.

Resumable: a video whose stored features are whole and of this encoder is skipped.
Exit status: 0 all done, 3 some videos failed, 1 the run could not start, 2 wrong arguments.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from tqdm import tqdm

from extract.encoder import VideoEncoder
from extract.errors import ExtractError, FeatureFileInvalid, RuntimeUnavailable
from extract.extractor import Extractor
from extract.named import SPEC_HELP, add_encoder_options, load_named_encoder
from extract.onnx_export import export_encoder, is_exportable
from extract.runtime import Runtime, RuntimeName, choose_encoder
from extract.store import FeatureStore
from weights.errors import WeightsError

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
_SUFFIXES = {"safetensors": ".safetensors", "pt": ".pt"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Extracts features; prints a JSON summary to standard output."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        videos = _find_videos(options.videos)
        encoder = _load_encoder(options)
    except (WeightsError, RuntimeUnavailable, ValueError, OSError) as error:
        logger.error("%s", error)
        return 1
    extractor = Extractor(encoder, batch_windows=options.batch_windows)
    summary = _extract_all(videos, extractor, FeatureStore(options.out), options.format)
    print(json.dumps(summary))
    return 3 if summary["failed"] else 0


def _extract_all(
    videos: dict[str, Path], extractor: Extractor, store: FeatureStore, file_format: str
) -> dict[str, object]:
    written, skipped = 0, 0
    failed: dict[str, str] = {}
    for video_id, path in tqdm(videos.items(), unit="video", disable=None):
        if _is_finished(store, video_id, _SUFFIXES[file_format], extractor.encoder):
            skipped += 1
            continue
        try:
            track = extractor.from_file(path, video_id=video_id)
            if file_format == "pt":
                store.write_bare(track)
            else:
                store.write(track)
            written += 1
        except (ExtractError, OSError, ValueError) as error:
            logger.error("%s: %s", path, error)
            failed[video_id] = str(error)
    return {"written": written, "skipped": skipped, "failed": failed}


def _is_finished(store: FeatureStore, video_id: str, suffix: str, encoder: VideoEncoder) -> bool:
    """Believes a stored file only after reading it: an interrupted copy looks finished too."""
    if not (store.root / f"{video_id}{suffix}").is_file():
        return False
    try:
        track = store.read(video_id)
    except (FeatureFileInvalid, KeyError) as error:
        logger.warning("%s is extracted again: %s", video_id, error)
        return False
    if track.features.shape[1] != encoder.dim:
        return False
    # A bare tensor does not say who made it.
    return track.encoder.fingerprint in ("", encoder.fingerprint)


def _find_videos(paths: Sequence[Path]) -> dict[str, Path]:
    """Video id -> file, in a stable order; folders are searched through.

    Raises:
        ValueError: nothing found, or two files would get the same id.
    """
    found: dict[str, Path] = {}
    for path in paths:
        is_folder = path.is_dir()
        files = sorted(p for p in path.rglob("*") if p.is_file()) if is_folder else [path]
        for file in files:
            if is_folder and file.suffix.lower() not in VIDEO_SUFFIXES:
                continue
            other = found.setdefault(file.stem, file)
            if other != file:
                raise ValueError(f"{other} and {file} would both be stored as {file.stem!r}")
    if not found:
        raise ValueError(f"no video in {', '.join(map(str, paths))}")
    return found


def _load_encoder(options: argparse.Namespace) -> VideoEncoder:
    encoder = load_named_encoder(options.encoder, weights=options.weights, color=options.color)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    wants_graph = options.runtime != "torch" and is_exportable(encoder)
    graph = export_encoder(encoder) if wants_graph else b""
    chosen, _ = choose_encoder(encoder.to(device), graph, Runtime(options.runtime))
    return chosen


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m extract", description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO|DIR")
    parser.add_argument("--out", required=True, type=Path, help="folder of the features")
    parser.add_argument("--encoder", required=True, help=SPEC_HELP)
    add_encoder_options(parser)
    parser.add_argument("--format", choices=sorted(_SUFFIXES), default="safetensors")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument(
        "--runtime",
        choices=get_args(RuntimeName),
        default="torch",
        help="of the encoder; auto measures, and what is stored then depends on the machine to "
        "rounding (default: torch)",
    )
    parser.add_argument("--batch-windows", type=int, default=16)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
