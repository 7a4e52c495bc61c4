"""Features of many videos: files, folders, lists, or an Ego4D manifest.

One file per video, in a folder or behind a URL, written whole or not at all, and called by the
video's id: its name without the ending where that has only letters, digits, '.', '_' and '-', else
made of the name. Running the command again goes on where it was stopped: a video whose features are
there, whole and of this encoder, is skipped; one that failed is tried again. What happened to which
file is in DIR/report.json, and as JSON on standard output.

Exit status: 0 all done; 3 some videos failed, the others are done; 1 the run could not start or
go on; 2 wrong arguments; 130 or 143 stopped by Ctrl-C or SIGTERM, videos under way were dropped.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from extract.cpu import divide_cores
from extract.dataset.manifest import find_videos, shard_of
from extract.dataset.options import parse_options
from extract.dataset.pipeline import Outcome, Progress, extract_videos
from extract.dataset.progress import ProgressBar
from extract.dataset.report import Entry, RunReport, kept_notices, report_name
from extract.dataset.results import Results, VideoDone
from extract.dataset.signals import StopSignals
from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.errors import ClusterFailed, DecoderUnavailable, RuntimeUnavailable
from extract.setup import describe_encoder, load_encoder
from weights.errors import RemoteFailed, WeightsError
from weights.storage.folders import Folder, open_folder

logger = logging.getLogger("extract")

_REPORT_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Extracts features; prints a JSON summary to standard output."""
    options = parse_options(arguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        videos = _apply_options(shard_of(find_videos(options.videos), *options.shard), options)
        _check_reader(options.reader)
        encoder = describe_encoder(options) if options.engine == "ray" else load_encoder(options)
        earlier = _earlier_report(options, encoder)
    except (WeightsError, RuntimeUnavailable, DecoderUnavailable, ValueError, OSError) as error:
        logger.error("%s", error)
        return 1
    report = RunReport.of(encoder)
    results = Results(options.out, encoder, format=options.format, half=options.half)
    try:
        with StopSignals() as signals, logging_redirect_tqdm():
            todo = _left_to_do(videos, results, options, earlier, report)
            if len(todo) == len(videos) and (sought := _sought_in_vain(todo)):
                logger.error("none of %d videos is there, the first: no %s", len(todo), sought)
                return 1
            if options.dry_run:
                would = {video.id: str(video.path) for video in todo}
                print(json.dumps({"to_do": would, **report.summary()}))
                return 0
            status = _extract(todo, results, encoder, options, report, signals)
    except RemoteFailed as error:  # what was asked of the storage is written or not; go on later
        logger.error("%s", error)
        return 1
    print(json.dumps({**report.summary(), "report": f"{options.out}/{report_name(options.shard)}"}))
    if signals.received is not None:
        return 128 + signals.received
    return status or (3 if report.failed else 0)


def _extract(
    todo: Sequence[Video],
    results: Results,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    report: RunReport,
    signals: StopSignals,
) -> int:
    """Extracts, stores and reports; returns 1 when the run cannot go on."""
    started = time.monotonic()
    status = 0
    results.store.sweep({video.id for video in todo})
    folder, name = open_folder(options.out), report_name(options.shard)
    report.write(folder, name)
    reported_at = started
    try:
        for ended in _ended(todo, results, encoder, options, signals):
            report.videos[ended.video.id] = entry = ended.entry
            if entry.status == "failed":
                logger.error("%s: %s: %s", entry.path, entry.why, entry.detail)
            # Notices are nowhere else: a run that is killed must not lose many.
            if entry.status == "failed" or time.monotonic() - reported_at > _REPORT_EVERY_S:
                _write_so_far(report, folder, name)
                reported_at = time.monotonic()
    except (DecoderUnavailable, ClusterFailed) as error:
        logger.error("%s", error)
        status = 1
    report.seconds = round(time.monotonic() - started, 3)
    report.stopped_by = signals.received.name if signals.received else None
    report.write(folder, name)
    return status


def _write_so_far(report: RunReport, folder: Folder, name: str) -> None:
    """Writes a report that will be written again, so that it need not succeed."""
    try:
        report.write(folder, name)
    except OSError as error:
        logger.warning("%s", error)


def _ended(
    todo: Sequence[Video],
    results: Results,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    signals: StopSignals,
) -> Iterator[VideoDone]:
    """Has the engine do the work, and shows how far it is."""
    engine = _with_ray if options.engine == "ray" else _run_locally
    with ProgressBar(todo) as bar:
        for news in engine(bar.longest_first, results, encoder, options, signals):
            bar.update(news)
            if isinstance(news, VideoDone):
                yield news


def _run_locally(
    videos: Sequence[Video],
    results: Results,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    signals: StopSignals,
) -> Iterator[VideoDone | Progress]:
    workers, threads = divide_cores(len(videos), options.workers)
    torch.set_num_threads(threads)
    for news in extract_videos(
        videos,
        encoder,
        workers=workers,
        batch_windows=options.batch_windows,
        reader=options.reader,
        is_stopped=signals.is_stopped,
    ):
        yield results.keep(news) if isinstance(news, Outcome) else news


def _with_ray(
    videos: Sequence[Video],
    results: Results,
    encoder: VideoEncoder,
    options: argparse.Namespace,
    signals: StopSignals,
) -> Iterator[VideoDone | Progress]:
    from extract.cluster.extraction import extract_with_ray

    return extract_with_ray(videos, encoder, options, signals.is_stopped)


def _left_to_do(
    videos: Sequence[Video],
    results: Results,
    options: argparse.Namespace,
    earlier: RunReport | None,
    report: RunReport,
) -> list[Video]:
    """Returns the videos that need work; the others are noted in the report."""
    todo = []
    given_up = earlier.failed if earlier and options.skip_failed else {}
    notices = kept_notices(open_folder(options.out), report_name(options.shard))
    for video in tqdm(videos, "checking what is there", unit="video", leave=False, disable=None):
        windows = results.windows_of(video)
        if windows is not None:
            known = notices.get(video.id, ())
            report.videos[video.id] = Entry("skipped", str(video.path), windows, notices=known)
        elif video.id in given_up:
            report.videos[video.id] = given_up[video.id]
        else:
            todo.append(video)
    return todo


def _sought_in_vain(videos: Sequence[Video]) -> str:
    """Returns where the first of the client's videos was looked for, where not one is there."""
    if any(not video.folders or os.path.isfile(video.path) for video in videos):
        return ""
    return videos[0].sought if videos else ""


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


def _apply_options(videos: list[Video], options: argparse.Namespace) -> list[Video]:
    """The videos with what the command line says of all of them."""
    videos = [replace(video, video_track=options.video_track) for video in videos]
    if options.stereo == "auto":
        return videos
    return [replace(video, is_stereo=options.stereo == "always") for video in videos]


def _check_reader(reader: str) -> None:
    if reader == "nvdec":
        from extract.decode.pyav.nvdec import nvdec

        nvdec()


if __name__ == "__main__":
    raise SystemExit(main())
