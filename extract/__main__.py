"""Features of many videos: files, folders, lists, or an Ego4D manifest.

One file per video, in a folder or behind a URL, written whole or not at all, and named by the
video's id: its name without the ending where that has only letters, digits, '.', '_' and '-', else
an id made of the name. Running the command again resumes: a video whose features are there, whole
and of this encoder, is skipped; one that failed is tried again. What happened to which file is in
DIR/report.json, and as JSON on standard output.

Exit status: 0 all done; 3 some videos failed, the others are done; 1 the run could not start or
continue; 2 wrong arguments; 130 or 143 stopped by Ctrl-C or SIGTERM, videos under way were dropped.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import FrameType

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from extract.cpu import divide_cores
from extract.dataset.manifest import find_videos, shard_of
from extract.dataset.options import Options, parse_options
from extract.dataset.pipeline import Outcome, Progress, extract_videos
from extract.dataset.progress import ProgressBar
from extract.dataset.report import Entry, RunReport, kept_notices, report_name
from extract.dataset.results import Results, VideoDone
from extract.dataset.video_lists import Video
from extract.decode.pyav.reader import nvdec
from extract.encoders.encoder import VideoEncoder
from extract.errors import ClusterFailed, DecoderUnavailable, RuntimeUnavailable
from weights.errors import RemoteFailed, WeightsError
from weights.storage.folders import open_folder

logger = logging.getLogger("extract")

_REPORT_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Extracts features; prints a JSON summary to standard output."""
    options = parse_options(arguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        videos = _apply_options(shard_of(find_videos(options.videos), *options.shard), options)
        if options.reader == "nvdec":
            nvdec()  # raises where this machine has none
        is_local = options.engine == "local"
        encoder = options.load_encoder() if is_local else options.describe_encoder()
        earlier = _earlier_report(options, encoder)
    except (WeightsError, RuntimeUnavailable, DecoderUnavailable, ValueError, OSError) as error:
        logger.error("%s", error)
        return 1
    report = RunReport.of(encoder)
    results = Results(options.out, encoder, format=options.format, half=options.half)
    try:
        with _StopSignals() as signals, logging_redirect_tqdm():
            run = _Run(options, encoder, results, report, signals)
            todo = run.left_to_do(videos, earlier)
            if len(todo) == len(videos) and (sought := _sought_in_vain(todo)):
                logger.error("none of %d videos is there, the first: no %s", len(todo), sought)
                return 1
            if options.dry_run:
                would = {video.id: str(video.path) for video in todo}
                print(json.dumps({"to_do": would, **report.summary()}))
                return 0
            status = run.extract(todo)
    except RemoteFailed as error:  # each file is written or not; the next run resumes
        logger.error("%s", error)
        return 1
    print(json.dumps({**report.summary(), "report": f"{options.out}/{report_name(options.shard)}"}))
    if signals.received is not None:
        return 128 + signals.received
    return status or (3 if report.failed else 0)


class _StopSignals:
    """Deferred SIGINT and SIGTERM: the first one is noted, a second one acts as it did before.

    Attributes:
        received: the signal, once it came.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> "_StopSignals":
        stopping = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in stopping}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_stopped(self) -> bool:
        return self.received is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.__exit__()


@dataclass(frozen=True)
class _Run:
    """One run over a data set: its options, and where results, report and signals go."""

    options: Options
    encoder: VideoEncoder
    results: Results
    report: RunReport
    signals: _StopSignals

    def left_to_do(self, videos: Sequence[Video], earlier: RunReport | None) -> list[Video]:
        """Returns the videos that need work; the others are noted in the report."""
        todo, entries = [], self.report.videos
        given_up = earlier.failed if earlier and self.options.skip_failed else {}
        notices = kept_notices(open_folder(self.options.out), report_name(self.options.shard))
        bar = tqdm(videos, "checking existing files", unit="video", leave=False, disable=None)
        for video in bar:
            windows = self.results.windows_of(video)
            if windows is not None:
                known = notices.get(video.id, ())
                entries[video.id] = Entry("skipped", str(video.path), windows, notices=known)
            elif video.id in given_up:
                entries[video.id] = given_up[video.id]
            else:
                todo.append(video)
        return todo

    def extract(self, todo: Sequence[Video]) -> int:
        """Extracts, stores and reports; returns 1 when the run cannot continue."""
        report, started = self.report, time.monotonic()
        status = 0
        self.results.store.sweep({video.id for video in todo})
        self._write_report()
        reported_at = started
        try:
            for ended in self._ended(todo):
                report.videos[ended.video.id] = entry = ended.entry
                if entry.status == "failed":
                    logger.error("%s: %s: %s", entry.path, entry.why, entry.detail)
                # Notices are nowhere else: a run that is killed must not lose many.
                if entry.status == "failed" or time.monotonic() - reported_at > _REPORT_EVERY_S:
                    try:
                        self._write_report()
                    except OSError as error:  # it will be written again
                        logger.warning("%s", error)
                    reported_at = time.monotonic()
        except (DecoderUnavailable, ClusterFailed) as error:
            logger.error("%s", error)
            status = 1
        report.seconds = round(time.monotonic() - started, 3)
        report.stopped_by = self.signals.received.name if self.signals.received else None
        self._write_report()
        return status

    def _write_report(self) -> None:
        self.report.write(open_folder(self.options.out), report_name(self.options.shard))

    def _ended(self, todo: Sequence[Video]) -> Iterator[VideoDone]:
        """Runs the engine and updates the progress bar."""
        engine = self._with_ray if self.options.engine == "ray" else self._locally
        with ProgressBar(todo) as bar:
            for news in engine(bar.longest_first):
                bar.update(news)
                if isinstance(news, VideoDone):
                    yield news

    def _locally(self, videos: Sequence[Video]) -> Iterator[VideoDone | Progress]:
        workers, threads = divide_cores(len(videos), self.options.workers)
        torch.set_num_threads(threads)
        for news in extract_videos(
            videos,
            self.encoder,
            workers=workers,
            batch_windows=self.options.batch_windows,
            reader=self.options.reader,
            is_stopped=self.signals.is_stopped,
        ):
            yield self.results.keep(news) if isinstance(news, Outcome) else news

    def _with_ray(self, videos: Sequence[Video]) -> Iterator[VideoDone | Progress]:
        from extract.cluster.extraction import extract_with_ray

        return extract_with_ray(videos, self.encoder, self.options, self.signals.is_stopped)


def _sought_in_vain(videos: Sequence[Video]) -> str:
    """Returns where the first of the client's videos was looked for, where not one is there."""
    if any(not video.folders or os.path.isfile(video.path) for video in videos):
        return ""
    return videos[0].sought if videos else ""


def _earlier_report(options: Options, encoder: VideoEncoder) -> RunReport | None:
    earlier = RunReport.read(open_folder(options.out), report_name(options.shard))
    if earlier is None or options.format != "pt":
        return earlier
    if earlier.encoder["fingerprint"] != encoder.fingerprint:
        raise ValueError(
            f"{options.out} was filled by another encoder ({earlier.encoder['name']}, "
            f"{earlier.encoder['fingerprint'][:12]}); .pt files do not name their encoder: "
            "choose another folder"
        )
    return earlier


def _apply_options(videos: list[Video], options: Options) -> list[Video]:
    """Returns the videos with the options that hold for all of them."""
    videos = [replace(video, video_track=options.video_track) for video in videos]
    if options.stereo == "auto":
        return videos
    return [replace(video, is_stereo=options.stereo == "always") for video in videos]


if __name__ == "__main__":
    raise SystemExit(main())
