"""Engine `ray` of `python -m extract`: videos to feature files, by the actors of a cluster.

An actor has an encoder, decoding processes and the folder of results, which it writes itself. Only
names and entries of the report leave it, no pixels or features.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from extract.cluster.actors import ActorPool, Begun, Done, GivenUp, ProgressCallback
from extract.cluster.session import absolute_place, check_paths, find_room, ray_session
from extract.dataset.options import Options
from extract.dataset.pipeline import ExtractionPipeline, Outcome, Progress
from extract.dataset.report import Entry
from extract.dataset.results import Results, VideoDone
from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.errors import ClusterFailed

_PROGRESS_EVERY_S = 1.0


def extract_with_ray(
    videos: Sequence[Video],
    encoder: VideoEncoder,
    options: Options,
    is_stopped: Callable[[], bool],
) -> Iterator[VideoDone | Progress]:
    """Yields the end of each video, in the order they end, and progress in between.

    Encoders of the actors must have the fingerprint of the given one, of `describe_encoder`.

    Raises:
        ClusterFailed: the cluster cannot start or continue the work.
    """
    if not videos:
        return
    slots = options.workers or 1
    wants_gpu = options.device in ("auto", "cuda")
    with ray_session(options.address) as ray:
        room = find_room(ray, cpus=slots + 1, wants_gpu=wants_gpu, actors=options.actors)
        check_paths(ray, options.videos, options.out)
        make = functools.partial(FeatureActor, _absolute(options), encoder.fingerprint, slots)
        by_id = {video.id: video for video in videos}
        units = {id: replace(video, path=video.path.absolute()) for id, video in by_id.items()}
        for news in ActorPool(ray, make, room, together=slots).run(units, is_stopped):
            yield _of_video(by_id[news.id], news)


def _absolute(options: Options) -> Options:
    """Returns the options with absolute paths, for actors in other working folders."""
    encoder = Path(options.encoder)
    paths = {
        "out": absolute_place(options.out),
        "weights": options.weights.absolute(),
        "encoder": str(encoder.absolute()) if encoder.is_dir() else options.encoder,
    }
    return Options(**{**vars(options), **paths})


def _of_video(video: Video, news: Begun | Done | GivenUp) -> VideoDone | Progress:
    match news:
        case Begun():
            share, num_windows = news.news or (0.0, 0)
            return Progress(video, share, num_windows)
        case Done():
            return VideoDone(video, replace(news.result, path=str(video.path)))
        case GivenUp():
            detail = "the process that extracted it died, and so did the one that tried it again"
            return VideoDone(
                video, Entry("failed", str(video.path), why="worker-died", detail=detail)
            )


class FeatureActor:
    """Extracts videos in an actor, a few at once.

    Args:
        options: of the run, with absolute paths.
        fingerprint: that the encoder must have.
        slots: videos at once.

    Raises:
        WeightsError, RuntimeUnavailable, ValueError, OSError: the encoder cannot be loaded here.
        ClusterFailed: the encoder here is another one.
    """

    def __init__(self, options: Options, fingerprint: str, slots: int) -> None:
        torch.set_num_threads(1)
        encoder = options.load_encoder()
        if encoder.fingerprint != fingerprint:
            raise ClusterFailed(
                f"the encoder is another one here ({encoder.fingerprint[:12]}) than where the run "
                f"was started ({fingerprint[:12]}): give every node the same weights and release"
            )
        self._results = Results(options.out, encoder, format=options.format, half=options.half)
        self._pipeline = ExtractionPipeline(
            encoder, slots, batch_windows=options.batch_windows, reader=options.reader
        )

    def __call__(
        self, units: Mapping[str, Video], progress: ProgressCallback
    ) -> Iterator[tuple[str, Entry]]:
        """Yields entries; a video that an actor finished before it died is not extracted again.

        Raises:
            DecoderUnavailable: a decoding process cannot be started.
        """
        left = []
        for id, video in units.items():
            windows = self._results.windows_of(video)
            if windows is None:
                left.append(video)
            else:
                yield id, Entry("written", str(video.path), windows)
        sent_at = 0.0
        for news in self._pipeline.extract(left):
            if isinstance(news, Outcome):
                yield news.video.id, self._results.keep(news).entry
            elif time.monotonic() - sent_at >= _PROGRESS_EVERY_S:  # a cluster has many senders
                sent_at = time.monotonic()
                progress(news.video.id, (news.share, news.num_windows))
