"""The engine `ray` of `python -m extract`: videos to feature files, by the actors of a cluster.

An actor is what the local engine is in small: an encoder, decoding processes and the folder of
results, which it writes itself. Pixels and features never leave it; names and entries do.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from extract.cluster.actors import ActorPool, Begun, Done, GivenUp, Tell
from extract.cluster.session import absolute_place, check_paths, find_room, ray_session
from extract.dataset.options import Options
from extract.dataset.pipeline import ExtractionPipeline, Outcome, Progress
from extract.dataset.report import Entry
from extract.dataset.results import Results, VideoDone
from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.errors import ClusterFailed

_TELL_S = 1.0


def extract_with_ray(
    videos: Sequence[Video],
    encoder: VideoEncoder,
    options: Options,
    is_stopped: Callable[[], bool],
) -> Iterator[VideoDone | Progress]:
    """Yields what becomes of each video, in the order they end, and progress in between.

    Args:
        videos: what to extract; started in this order.
        encoder: as `describe_encoder` returns it: the actors' must have its fingerprint.
        options: of the run.
        is_stopped: asked several times a second; True drops what is under way.

    Raises:
        ClusterFailed: the cluster cannot do or go on with the work.
    """
    if not videos:
        return
    lanes = options.workers or 1
    wants_gpu = options.device in ("auto", "cuda")
    with ray_session(options.address) as ray:
        room = find_room(ray, cpus=lanes + 1, wants_gpu=wants_gpu, actors=options.actors)
        check_paths(ray, options.videos, options.out)
        make = functools.partial(FeatureActor, _absolute(options), encoder.fingerprint, lanes)
        by_id = {video.id: video for video in videos}
        units = {id: replace(video, path=video.path.absolute()) for id, video in by_id.items()}
        for news in ActorPool(ray, make, room, together=lanes).run(units, is_stopped):
            yield _of_video(by_id[news.id], news)


def _absolute(options: Options) -> Options:
    """Returns options that mean the same wherever an actor's working folder is."""
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
        options: of the run; paths mean here what they mean to the driver.
        fingerprint: of the encoder that features must come from.
        lanes: videos at once.

    Raises:
        WeightsError, RuntimeUnavailable, ValueError, OSError: there is no such encoder here.
        ClusterFailed: the encoder here is another one.
    """

    def __init__(self, options: Options, fingerprint: str, lanes: int) -> None:
        torch.set_num_threads(1)
        encoder = options.load_encoder()
        if encoder.fingerprint != fingerprint:
            raise ClusterFailed(
                f"the encoder is another one here ({encoder.fingerprint[:12]}) than where the run "
                f"was started ({fingerprint[:12]}): give every node the same weights and release"
            )
        self._results = Results(options.out, encoder, format=options.format, half=options.half)
        self._lanes = ExtractionPipeline(
            encoder, lanes, batch_windows=options.batch_windows, reader=options.reader
        )

    def __call__(self, units: Mapping[str, Video], tell: Tell) -> Iterator[tuple[str, Entry]]:
        """Yields entries; a video that was done by an actor that died afterwards is not done again.

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
        quiet = _Throttle(tell)
        for news in self._lanes.extract(left):
            if isinstance(news, Outcome):
                yield news.video.id, self._results.keep(news).entry
            else:
                quiet.tell(news)


@dataclass
class _Throttle:
    """Tells of progress once a second, for a cluster has many who tell."""

    send: Tell
    told: float = 0.0

    def tell(self, progress: Progress) -> None:
        """Sends it, unless something was sent just now."""
        now = time.monotonic()
        if now - self.told >= _TELL_S:
            self.told = now
            self.send(progress.video.id, (progress.share, progress.num_windows))
