"""Decode stage: clips become windows in sandboxed decoder processes, a few clips at a time."""

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from extract.decode.clip import DecodedClip, Limits
from extract.encoders.encoder import VideoEncoder, preparer
from extract.errors import DecoderDied, DecoderUnavailable, DecodeTimeout, VideoRejected
from extract.sandbox.pool import DecodePool
from extract.windows import FrameWindow, clip_windows
from server.errors import DeadlineExceeded
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

CLOCK_SLACK_S = 0.02
"""Largest difference of two clocks on whether a deadline has passed."""

_FAILURE_REASONS = {
    "not-a-video": "unsupported",
    "unsupported-container": "unsupported",
    "unsupported-codec": "unsupported",
    "no-video-track": "unsupported",
    "damaged": "corrupt",
    "too-slow": "cpu",
}
"""Code of a rejection -> the metric's `reason`; every other code is "limits"."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A decoded clip, cut into windows.

    Attributes:
        clip: the decoded clip.
        windows: L of T frames, which are those of the clip.
        waited_s: seconds until a decoder was free.
        ran_s: seconds of decoding and cutting.
    """

    clip: DecodedClip
    windows: list[FrameWindow]
    waited_s: float
    ran_s: float


class DecodeStage:
    """Runs the decoder pool with one waiting thread per decoder, so that the loop never blocks."""

    def __init__(self, pool: DecodePool, workers: int, metrics: Metrics) -> None:
        self.pool = pool
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(workers, "decode")

    async def start(self) -> None:
        """Starts the decoder processes."""
        await asyncio.to_thread(self.pool.start)

    async def stop(self) -> None:
        """Ends threads and processes; clips still waiting are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.pool.close)

    async def cut(
        self,
        path: Path,
        encoder: VideoEncoder,
        *,
        deadline_s: float,
        video_track: int | None = None,
    ) -> Cut:
        """Decodes a clip and cuts it; retries once after a decoder crash.

        Another clip may have caused the crash; a file that crashes two decoders is at fault.

        Args:
            path: the clip on disk.
            encoder: that the windows are for.
            deadline_s: on the running loop's clock.
            video_track: which of the file's video tracks; None takes the one marked as default.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: the deadline passed first.
        """
        loop = asyncio.get_running_loop()
        for is_retry in (False, True):
            left_s = deadline_s - loop.time()
            run = partial(self._run, path, encoder, video_track, time.perf_counter(), left_s)
            try:
                cut = await loop.run_in_executor(self._threads, run)
            except (VideoRejected, DecodeTimeout, DecoderDied) as error:
                reason = _failure_reason(error)
                if reason in ("crash", "timeout", "cpu"):
                    self._metrics.decoder_restarts.labels(reason).inc()
                if reason == "crash" and not is_retry:
                    logger.warning("a decoder crashed; trying once more")
                    continue
                self._metrics.decode_failures.labels(reason).inc()
                raise
            self._metrics.decoded_frames.inc(cut.clip.info.frames_decoded)
            return cut
        raise AssertionError("the second attempt returns or raises")

    def _run(
        self,
        path: Path,
        encoder: VideoEncoder,
        video_track: int | None,
        queued_s: float,
        left_s: float,
    ) -> Cut:
        """Runs on a decode thread, so that the event loop copies no frames."""
        started_s = time.perf_counter()
        left_s -= started_s - queued_s
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before decoding")
        try:
            clip = self.pool.decode(
                path,
                encoder.contract,
                timeout_s=left_s,
                video_track=video_track,
                prepare=preparer(encoder),
            )
        except (DecodeTimeout, DecoderUnavailable) as error:
            # Either the request's deadline passed, or the decoder's own limit came first.
            if time.perf_counter() - started_s >= left_s - CLOCK_SLACK_S:
                raise DeadlineExceeded("the deadline passed while decoding") from error
            raise
        windows = clip_windows(clip.frames, encoder.contract, clip.num_frames)
        ran_s = time.perf_counter() - started_s
        return Cut(clip, windows, started_s - queued_s, ran_s)


def _failure_reason(error: VideoRejected | DecodeTimeout | DecoderDied) -> str:
    if isinstance(error, VideoRejected):
        return _FAILURE_REASONS.get(error.code, "limits")
    return "timeout" if isinstance(error, DecodeTimeout) else "crash"


def decode_pool(settings: Settings) -> DecodePool:
    """Returns the decoder processes that the settings describe, not started."""
    return DecodePool(
        workers=settings.decode_workers,
        limits=limits_of(settings),
        clips_per_worker=settings.clips_per_worker,
        reader=settings.reader,
    )


def limits_of(settings: Settings) -> Limits:
    """Returns the decoder's limits for one clip of a synchronous request."""
    return Limits(
        max_duration_s=settings.max_duration_s,
        max_frames=settings.max_frames,
        max_pixels=settings.max_pixels,
        max_fps=settings.max_fps,
        max_clip_pixels=settings.max_clip_pixels,
        max_output_mb=settings.decode_output_mb,
        decode_wall_s=settings.decode_wall_s,
        cpu_s=math.ceil(settings.decode_cpu_s),
        memory_mb=settings.decode_memory_mb,
    )
