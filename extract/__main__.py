"""Features of many videos: files, folders, lists, or an Ego4D manifest.

One file per video, in a folder or behind a URL, written whole or not at all. Running the command
again goes on where it was stopped: a video whose features are there, whole and of this encoder, is
skipped; one that failed is tried again. What happened is in DIR/report.json, and as JSON on
standard output.

Exit status: 0 all done; 3 some videos failed, the others are done; 1 the run could not start or
go on; 2 wrong arguments; 130 or 143 stopped by Ctrl-C or SIGTERM, videos under way were dropped.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from extract.cores import divide_cores
from extract.dataset import Outcome, extract_videos
from extract.encoder import VideoEncoder
from extract.errors import DecoderUnavailable, FeatureFileInvalid, RuntimeUnavailable
from extract.manifest import Video, find_videos, shard_of
from extract.named import load_named_encoder
from extract.onnx_export import export_encoder, is_exportable
from extract.options import SUFFIXES, parse_options
from extract.progress import ProgressBar
from extract.run_report import Entry, RunReport, reason, report_name
from extract.runtime import Runtime, choose_encoder
from extract.stop_signals import StopSignals
from extract.store import FeatureStore
from extract.windows import cut_windows
from weights.errors import RemoteFailed, WeightsError
from weights.folders import open_folder

logger = logging.getLogger("extract")


def main(arguments: Sequence[str] | None = None) -> int:
    """Extracts features; prints a JSON summary to standard output."""
    options = parse_options(arguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        videos = _eyes(shard_of(find_videos(options.videos), *options.shard), options.stereo)
        _check_reader(options.reader)
        encoder = _load_encoder(options)
        earlier = _earlier_report(options, encoder)
    except (WeightsError, RuntimeUnavailable, DecoderUnavailable, ValueError, OSError) as error:
        logger.error("%s", error)
        return 1
    report = RunReport.of(encoder)
    store = FeatureStore(options.out)
    try:
        with StopSignals() as signals, logging_redirect_tqdm():
            todo = _left_to_do(videos, store, encoder, options, earlier, report)
            if options.dry_run:
                would = {video.id: str(video.path) for video in todo}
                print(json.dumps({"to_do": would, **report.summary()}))
                return 0
            status = _extract(todo, store, encoder, options, report, signals)
    except RemoteFailed as error:  # what was asked of the storage is written or not; go on later
        logger.error("%s", error)
        return 1
    print(json.dumps({**report.summary(), "report": f"{options.out}/{report_name(options.shard)}"}))
    if signals.received is not None:
        return 128 + signals.received
    return status or (3 if report.failed else 0)


def _extract(
    todo: Sequence[Video],
    store: FeatureStore,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    report: RunReport,
    signals: StopSignals,
) -> int:
    """Extracts, stores and reports; returns 1 when the run cannot go on."""
    started = time.monotonic()
    status = 0
    workers, threads = divide_cores(len(todo), options.workers)
    torch.set_num_threads(threads)
    store.sweep({video.id for video in todo})
    folder, name = open_folder(options.out), report_name(options.shard)
    report.write(folder, name)
    try:
        for outcome in _outcomes(todo, encoder, workers, options, signals):
            report.videos[outcome.video.id] = entry = _store(outcome, store, options)
            if entry.status == "failed":
                logger.error("%s: %s: %s", entry.path, entry.why, entry.detail)
                report.write(folder, name)
    except DecoderUnavailable as error:
        logger.error("%s", error)
        status = 1
    report.seconds = round(time.monotonic() - started, 3)
    report.stopped_by = signals.received.name if signals.received else None
    report.write(folder, name)
    return status


def _outcomes(
    todo: Sequence[Video],
    encoder: VideoEncoder,
    workers: int,
    options: argparse.Namespace,
    signals: StopSignals,
) -> Iterator[Outcome]:
    with ProgressBar(todo) as bar:
        for news in extract_videos(
            bar.longest_first,
            encoder,
            workers=workers,
            batch_windows=options.batch_windows,
            reader=options.reader,
            is_stopped=signals.is_stopped,
        ):
            bar.update(news)
            if isinstance(news, Outcome):
                yield news


def _store(outcome: Outcome, store: FeatureStore, options: argparse.Namespace) -> Entry:
    path, seconds = str(outcome.video.path), round(outcome.seconds, 3)
    error, track = outcome.error, outcome.track
    if track is not None:
        try:
            if options.format == "pt":
                store.write_bare(track, half=options.half)
            else:
                store.write(track)
            return Entry("written", path, len(track.features), seconds)
        except OSError as failure:
            error = failure
    assert error is not None
    why, detail = reason(error)
    return Entry("failed", path, 0, seconds, why, detail)


def _left_to_do(
    videos: Sequence[Video],
    store: FeatureStore,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    earlier: RunReport | None,
    report: RunReport,
) -> list[Video]:
    """Returns the videos that need work; the others are noted in the report."""
    todo = []
    given_up = earlier.failed if earlier and options.skip_failed else {}
    for video in tqdm(videos, "checking what is there", unit="video", leave=False, disable=None):
        windows = _finished_windows(video, store, encoder, options)
        if windows is not None:
            report.videos[video.id] = Entry("skipped", str(video.path), windows)
        elif video.id in given_up:
            report.videos[video.id] = given_up[video.id]
        else:
            todo.append(video)
    return todo


def _finished_windows(
    video: Video, store: FeatureStore, encoder: VideoEncoder, options: argparse.Namespace
) -> int | None:
    """Returns the rows of a finished video: whole, of this encoder, and as many as its frames make.

    A stored file is believed only after reading it: an interrupted copy looks finished too.
    """
    try:
        rows = store.read_rows(video.id, SUFFIXES[options.format])
    except KeyError:
        return None
    except FeatureFileInvalid as error:
        logger.warning("%s is extracted again: %s", video.id, error)
        return None
    found, contract = rows.features, encoder.contract
    dtype = torch.float16 if options.half else torch.float32
    # A bare tensor does not say who made it; the report does, and was asked before.
    is_ours = rows.encoder.fingerprint in ("", encoder.fingerprint)
    is_ours = is_ours and found.shape[1] == encoder.dim and found.dtype == dtype
    for num_frames, slack in ((rows.num_frames, 0), (video.num_frames, 1)):
        if num_frames is not None:
            expected = cut_windows(
                num_frames,
                window_frames=contract.window_frames,
                stride_frames=contract.stride_frames,
            )
            # Metadata and decoder may disagree on the last frames, and so by one window.
            is_ours = is_ours and abs(len(found) - len(expected)) <= slack
    return len(found) if is_ours and bool(torch.isfinite(found).all()) else None


def _earlier_report(options: argparse.Namespace, encoder: VideoEncoder) -> RunReport | None:
    earlier = RunReport.read(open_folder(options.out), report_name(options.shard))
    if earlier is None or options.format != "pt":
        return earlier
    if earlier.encoder["fingerprint"] != encoder.fingerprint:
        raise ValueError(
            f"{options.out} was filled by another encoder ({earlier.encoder['name']}, "
            f"{earlier.encoder['fingerprint'][:12]}); .pt files do not say who made them: "
            "choose another folder"
        )
    return earlier


def _eyes(videos: list[Video], stereo: str) -> list[Video]:
    if stereo == "auto":
        return videos
    return [replace(video, is_stereo=stereo == "always") for video in videos]


def _check_reader(reader: str) -> None:
    if reader == "nvdec":
        from extract.nvdec import nvdec

        nvdec()


def _load_encoder(options: argparse.Namespace) -> VideoEncoder:
    encoder = load_named_encoder(options.encoder, weights=options.weights, color=options.color)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    runtime = Runtime(options.runtime, precision=options.precision, way=options.way)
    wants_graph = runtime.name != "torch" and runtime.is_plain and is_exportable(encoder)
    graph = export_encoder(encoder) if wants_graph else b""
    chosen, _ = choose_encoder(encoder.to(device), graph, runtime)
    return chosen


if __name__ == "__main__":
    raise SystemExit(main())
