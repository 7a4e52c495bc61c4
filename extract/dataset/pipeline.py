"""Many videos at once: decoded ahead in processes of their own, encoded here.

The encoder takes whichever video has frames ready. A batch holds windows of one video only, so
the features of a video do not depend on what runs beside it.
"""

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from extract.dataset.video_lists import Video
from extract.decode.clip import TRUSTED, Limits, Notice, ReaderChoice
from extract.encoders.encoder import VideoEncoder
from extract.errors import DecoderDied, DecoderUnavailable, DecodeStalled, ExtractError
from extract.features.extractor import TrackBuilder
from extract.features.track import FeatureTrack
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import FrameStream
from extract.windows import wanted_frames

logger = logging.getLogger(__name__)

_TICK_S = 0.5
_STALL_S = 600.0  # the packets of a day of video on a slow disk are looked at in that time
_VIDEOS_PER_PROCESS = 200


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        video: which.
        track: its features; None when it failed.
        error: why it failed.
        seconds: from the first look at it to its last window.
        notices: what is to be known of the features, such as that frames are missing.
    """

    video: Video
    track: FeatureTrack | None
    error: Exception | None
    seconds: float
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far one video is.

    Attributes:
        video: which.
        share: of its frames that were used, in [0, 1].
        num_windows: encoded so far.
    """

    video: Video
    share: float
    num_windows: int


def extract_videos(
    videos: Sequence[Video],
    encoder: VideoEncoder,
    *,
    workers: int,
    batch_windows: int = 16,
    reader: ReaderChoice = "auto",
    limits: Limits = TRUSTED,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome | Progress]:
    """Yields what becomes of each video, in the order they end, and progress in between.

    Memory does not grow with the length of a video, but for its features and the times of its
    frames. A video that makes its decoder crash or hang costs itself alone.

    Args:
        videos: what to extract; started in this order.
        encoder: makes the features, in this process.
        workers: decoding processes, hence videos at once.
        batch_windows: windows in one call of the encoder.
        reader: who decodes.
        limits: what one video may cost.
        is_stopped: asked at least twice a second between batches; True drops what is under way.

    Raises:
        DecoderUnavailable: a process cannot be started.
    """
    with ExtractionPipeline(
        encoder,
        min(workers, len(videos)),
        batch_windows=batch_windows,
        reader=reader,
        limits=limits,
    ) as lanes:
        yield from lanes.extract(videos, is_stopped)


class ExtractionPipeline:
    """Decoding processes that stay for the next videos, and the encoder they share.

    Used as a context manager, or until `close`.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        count: int,
        *,
        batch_windows: int = 16,
        reader: ReaderChoice = "auto",
        limits: Limits = TRUSTED,
    ) -> None:
        """Starts no process yet; `count` is of videos at once, the rest as in `extract_videos`."""
        self._lanes = [_DecodeSlot(encoder, batch_windows, reader, limits) for _ in range(count)]

    def __enter__(self) -> "ExtractionPipeline":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def extract(
        self, videos: Sequence[Video], is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome | Progress]:
        """Yields what `extract_videos` does.

        Raises:
            DecoderUnavailable: a process cannot be started.
        """
        todo = deque(videos)
        while not is_stopped():
            for lane in self._lanes:
                while lane.video is None and todo:
                    failure = lane.start(todo.popleft())
                    if failure is not None:
                        yield failure
            busy = [lane for lane in self._lanes if lane.video is not None]
            if not busy:
                return
            readable = _readable(busy)
            for lane in busy:
                if lane in readable:
                    yield lane.advance()
                elif lane.is_stalled():
                    yield lane.fail_stalled()

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        for lane in self._lanes:
            lane.close()


class _DecodeSlot:
    """One decoding process and the video it is at; also the sink of that video's frames."""

    def __init__(
        self, encoder: VideoEncoder, batch_windows: int, reader: ReaderChoice, limits: Limits
    ) -> None:
        self.video: Video | None = None
        self._encoder = encoder
        self._batch_windows = batch_windows
        self._reader: ReaderChoice = reader
        self._limits = limits
        self._process: DecodeProcess | None = None

    def start(self, video: Video) -> Outcome | None:
        """Has a video decoded from now on; returns what is wrong when that is plain already.

        Raises:
            DecoderUnavailable: no process can be started.
        """
        self.video = video
        self._started = self._heard = time.monotonic()
        self._num_frames = self._expected = 0
        self._builder = TrackBuilder(self._encoder, batch_windows=self._batch_windows)
        contract = self._encoder.contract
        if video.is_stereo:
            contract = contract.for_stereo()
        try:
            video.check_there()
            self._stream = FrameStream(
                self._living(),
                video.path,
                contract,
                self._reader,
                video_track=video.video_track,
            )
        except (OSError, ValueError, DecoderDied) as error:  # ValueError: no path can be that
            self.close()
            return self._ended(None, error)
        return None

    def fileno(self) -> int:
        """Readable when there is something to advance with."""
        assert self._process is not None
        return self._process.fileno()

    def is_stalled(self) -> bool:
        """Tells whether nothing came for so long that nothing will."""
        return time.monotonic() - self._heard > _STALL_S

    def advance(self) -> Outcome | Progress:
        """Uses the frames that are there; an error of the video's own is its outcome."""
        assert self.video is not None
        try:
            if self._stream.drain_into(self):
                track = self._builder.finish(video_id=self.video.id, info=self._stream.info)
                return self._ended(track, None, self._stream.notices)
        except ExtractError as error:
            return self._ended(None, error)
        self._heard = time.monotonic()
        share = min(1.0, self._num_frames / self._expected) if self._expected else 0.0
        return Progress(self.video, share, self._builder.num_windows)

    def fail_stalled(self) -> Outcome:
        """Ends a video whose decoder hangs."""
        return self._ended(None, DecodeStalled(f"no frame came for {_STALL_S:.0f} s"))

    def expect(self, num_frames: int) -> None:
        self._expected = int(wanted_frames(num_frames, self._encoder.contract).sum())
        self._builder.expect(num_frames)

    def append(self, block: np.ndarray) -> None:
        self._num_frames += len(block)
        self._builder.append(block)

    def restart(self) -> None:
        self._num_frames = 0
        self._builder.restart()

    def close(self) -> None:
        """Ends the process, whatever it is at."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _living(self) -> DecodeProcess:
        if self._process is None or self._process.has_ended():
            self.close()
            try:
                self._process = DecodeProcess(self._limits)
            except OSError as error:
                raise DecoderUnavailable(f"cannot start a decoding process: {error}") from error
        return self._process

    def _ended(
        self,
        track: FeatureTrack | None,
        error: Exception | None,
        notices: tuple[Notice, ...] = (),
    ) -> Outcome:
        assert self.video is not None
        outcome = Outcome(self.video, track, error, time.monotonic() - self._started, notices)
        self.video = None
        process = self._process
        if process and not (self._stream.is_reusable and process.asked < _VIDEOS_PER_PROCESS):
            self.close()
        return outcome


def _readable(lanes: Sequence[_DecodeSlot]) -> set[_DecodeSlot]:
    """Those that have frames or news, after a short wait."""
    with selectors.DefaultSelector() as selector:
        for lane in lanes:
            selector.register(lane, selectors.EVENT_READ, lane)
        return {key.data for key, _ in selector.select(_TICK_S)}
