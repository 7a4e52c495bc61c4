"""Window stream: a video of any length -> batches of windows, in constant memory.

It is decoded in a sandboxed process of its own, at low CPU priority.
"""

import logging
import math
import selectors
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import Limits, Prepare, StreamFacts
from extract.errors import DecoderDied, DecoderUnavailable, DecodeStalled
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import FrameStream
from extract.windows import (
    FrameWindow,
    NumberedFrame,
    WindowCutter,
    count_windows,
    number_frames,
)
from server.settings.settings import Settings

logger = logging.getLogger(__name__)

_BATCH_BYTES = 256 * 1024 * 1024
_NICE = 15


class VideoStream:
    """One video being decoded; used by one thread at a time, except for `stop`.

    Attributes:
        num_windows: of the whole video; 0 until its packets have been demuxed.
        num_frames: on the contract's clock, so far.
    """

    def __init__(
        self,
        path: Path,
        contract: FeatureContract,
        settings: Settings,
        video_track: int | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        """Starts no process before `batches`.

        Args:
            path: the video.
            contract: of the encoder that the windows are for.
            settings: limits of a job.
            video_track: which of the file's video tracks; None takes the one marked as default.
            prepare: makes the frames of windows of those that are read; None leaves them.
        """
        self._prepare = prepare
        self.num_windows = 0
        self._path, self._contract, self._settings = path, contract, settings
        self._video_track = video_track
        self._blocks: deque[np.ndarray] = deque()
        self._lock = threading.Lock()  # held to start the process, and to stop it
        self._is_stopped = False
        self._process: DecodeProcess | None = None
        self._stream: FrameStream | None = None
        self._expected: int | None = None
        self.restart()

    @property
    def num_frames(self) -> int:
        """Frames so far."""
        return self._cutter.num_frames

    @property
    def facts(self) -> StreamFacts:
        """Facts of the video, after the last batch."""
        assert self._stream is not None
        assert self._stream.facts is not None
        return self._stream.facts

    def batches(self) -> Iterator[list[FrameWindow]]:
        """Yields all windows in batches; blocks for the decoder.

        Raises:
            DecoderUnavailable: no process can be started.
            VideoRejected: the file is no acceptable video, or takes too much CPU time.
            DecoderDied: the process crashed on it, or was stopped.
            DecodeStalled: no frame came for too long, and by no fault of the file.
        """
        batch: list[FrameWindow] = []
        for window in self._windows():
            batch.append(window)
            window_bytes = sum(frame.nbytes for _, frame in window)
            max_windows = min(self._settings.job_batch_windows, _BATCH_BYTES // window_bytes)
            if len(batch) >= max(1, max_windows):
                yield batch
                batch = []
        if batch:
            yield batch

    def stop(self) -> None:
        """Kills the process, from any thread; a thread blocked in `batches` gets `DecoderDied`."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Ends the process and frees its memory; after `stop`."""
        if self._process is not None:
            self._process.end()

    def expect(self, num_frames: int) -> None:
        """Sets the length of the video; only frames that are part of a window will follow."""
        self._expected = num_frames
        self.restart()
        self.num_windows = count_windows(num_frames, self._contract)

    def append(self, block: np.ndarray) -> None:
        """Adds the next frames."""
        self._blocks.append(block)

    def restart(self) -> None:
        """Drops all frames: they follow again from the beginning."""
        self._blocks.clear()
        self._cutter: WindowCutter[NumberedFrame] = WindowCutter(self._contract, self._expected)

    def _windows(self) -> Iterator[FrameWindow]:
        process = self._start()
        stream = self._stream = FrameStream(
            process,
            self._path,
            self._contract,
            "pyav",
            video_track=self._video_track,
            wants_facts=True,
        )
        has_ended = False
        while not has_ended:
            self._wait(process)
            has_ended = stream.drain_into(self)
            while self._blocks:
                block = self._blocks.popleft()
                block = block if self._prepare is None else self._prepare(block)
                yield from self._cutter.push(number_frames(block))
        yield from self._cutter.finish()

    def _start(self) -> DecodeProcess:
        with self._lock:
            if self._is_stopped:
                raise DecoderDied("it was stopped before it began")
            try:
                self._process = DecodeProcess(job_limits(self._settings), _NICE)
            except OSError as error:
                raise DecoderUnavailable("a decoding process cannot be started") from error
            return self._process

    def _wait(self, process: DecodeProcess) -> None:
        """Waits for a message of the process."""
        with selectors.DefaultSelector() as selector:
            selector.register(process, selectors.EVENT_READ)
            if not selector.select(self._settings.job_stall_s):
                seconds = self._settings.job_stall_s
                raise process.overdue(DecodeStalled(f"no frame came for {seconds:g} s"))


def job_limits(settings: Settings) -> Limits:
    """Returns the decoder's limits for the video of a job."""
    return Limits(
        max_duration_s=settings.job_max_duration_s,
        max_frames=math.ceil(settings.job_max_duration_s * settings.max_fps),
        max_fps=settings.max_fps,
        max_pixels=settings.max_pixels,
        max_output_mb=1024,  # a ring of blocks, whatever the length
        is_stream=True,
        cpu_s=math.ceil(settings.job_timeout_s),
        memory_mb=settings.decode_memory_mb,
    )
