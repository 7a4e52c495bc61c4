"""Extraction pipeline: many videos decoded ahead in processes (prefetch), encoded in this one.

The encoder takes whichever video has frames ready. A batch holds windows of one video only, so
the features of a video do not depend on what runs beside it.
"""

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from extract.dataset.video_lists import Video
from extract.decode.clip import TRUSTED, Notice, ReaderChoice
from extract.encoders.encoder import VideoEncoder
from extract.errors import DecoderDied, DecoderUnavailable, DecodeStalled, ExtractError
from extract.features.extractor import TrackBuilder
from extract.features.track import FeatureTrack
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import FrameStream
from extract.windows import wanted_frames

logger = logging.getLogger(__name__)

_TICK_S = 0.5
_STALL_S = 600.0  # long enough to scan the packets of a day of video on a slow disk
_VIDEOS_PER_PROCESS = 200


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        video: which.
        track: its features; None when it failed.
        error: why it failed.
        seconds: from opening it to its last window.
        notices: limitations of the features, such as missing frames.
    """

    video: Video
    track: FeatureTrack | None
    error: Exception | None
    seconds: float
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Progress of one video.

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
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome | Progress]:
    """Yields what `ExtractionPipeline.extract` does, with a pipeline for these videos only."""
    slots = min(workers, len(videos))
    pipeline = ExtractionPipeline(encoder, slots, batch_windows=batch_windows, reader=reader)
    with closing(pipeline):
        yield from pipeline.extract(videos, is_stopped)


class ExtractionPipeline:
    """Decoding processes that are reused from video to video, and the encoder they share.

    Memory does not grow with the length of a video, except for its features and the times of its
    frames. A video that makes its decoder crash or hang costs itself alone.

    Args:
        encoder: makes the features, in this process.
        count: decoding processes, hence videos at once; started with their first video.
        batch_windows: windows in one call of the encoder.
        reader: the decoder.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        count: int,
        *,
        batch_windows: int = 16,
        reader: ReaderChoice = "auto",
    ) -> None:
        self._slots = [_DecodeSlot(encoder, batch_windows, reader) for _ in range(count)]

    def extract(
        self, videos: Sequence[Video], is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome | Progress]:
        """Yields what becomes of each video, in the order they end, and progress in between.

        Args:
            videos: what to extract; started in this order.
            is_stopped: called at least twice a second between batches; True drops what is under
                way.

        Raises:
            DecoderUnavailable: a process cannot be started.
        """
        todo = deque(videos)
        while not is_stopped():
            for slot in self._slots:
                while slot.video is None and todo:
                    failure = slot.start(todo.popleft())
                    if failure is not None:
                        yield failure
            busy = [slot for slot in self._slots if slot.video is not None]
            if not busy:
                return
            readable = _readable(busy)
            for slot in busy:
                if slot in readable:
                    yield slot.advance()
                elif slot.is_stalled():
                    yield slot.fail_stalled()

    def close(self) -> None:
        """Ends the processes and drops their videos."""
        for slot in self._slots:
            slot.close()


class _DecodeSlot:
    """One decoding process and its current video; also the `FrameSink` of that video."""

    def __init__(self, encoder: VideoEncoder, batch_windows: int, reader: ReaderChoice) -> None:
        self.video: Video | None = None
        self._encoder = encoder
        self._batch_windows = batch_windows
        self._reader: ReaderChoice = reader
        self._process: DecodeProcess | None = None

    def start(self, video: Video) -> Outcome | None:
        """Starts decoding a video; returns its outcome where it fails at once.

        Raises:
            DecoderUnavailable: no process can be started.
        """
        self.video = video
        self._started = self._received_at = time.monotonic()
        self._num_frames = self._expected = 0
        self._builder = TrackBuilder(self._encoder, batch_windows=self._batch_windows)
        contract = self._encoder.contract
        if video.is_stereo:
            contract = contract.for_stereo()
        try:
            video.check_there()
            self._stream = FrameStream(
                self._live_process(),
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
        """Descriptor, readable when `advance` has frames to use."""
        assert self._process is not None
        return self._process.fileno()

    def is_stalled(self) -> bool:
        """Returns whether no frame came for longer than the limit."""
        return time.monotonic() - self._received_at > _STALL_S

    def advance(self) -> Outcome | Progress:
        """Encodes the frames received so far; an error of the video is its outcome."""
        assert self.video is not None
        try:
            if self._stream.drain_into(self):
                track = self._builder.finish(video_id=self.video.id, info=self._stream.info)
                return self._ended(track, None, self._stream.notices)
        except ExtractError as error:
            return self._ended(None, error)
        self._received_at = time.monotonic()
        share = min(1.0, self._num_frames / self._expected) if self._expected else 0.0
        return Progress(self.video, share, self._builder.num_windows)

    def fail_stalled(self) -> Outcome:
        """Ends a video whose decoder hangs, or works without an end in sight."""
        assert self._process is not None
        stalled = DecodeStalled(f"no frame came for {_STALL_S:.0f} s")
        return self._ended(None, self._process.overdue(stalled))

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
        """Ends the process and drops its video."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _live_process(self) -> DecodeProcess:
        if self._process is None or self._process.has_ended():
            self.close()
            try:
                self._process = DecodeProcess(TRUSTED.for_reader(self._reader))
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


def _readable(slots: Sequence[_DecodeSlot]) -> set[_DecodeSlot]:
    """Returns the slots that have frames or a reply, after a short wait."""
    with selectors.DefaultSelector() as selector:
        for slot in slots:
            selector.register(slot, selectors.EVENT_READ, slot)
        return {key.data for key, _ in selector.select(_TICK_S)}
