"""Feature stage: a clip on disk -> its feature track.

decode (sandboxed processes) -> windows -> encode (micro-batches of windows across requests).
"""

import asyncio
import time
from pathlib import Path

import torch
from torch import Tensor

from extract.features.extractor import track_from
from extract.features.track import FeatureTrack
from model.predict.predictor import Predictor
from server.engine.decode_stage import Cut, DecodeStage
from server.engine.request import (
    ClipFeatures,
    Progress,
    ProgressCallback,
    Source,
    StageTimes,
    no_progress,
)
from server.scheduling.admission import ActiveClip
from server.scheduling.batcher import Completed, every
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ClipOptions
from server.telemetry.telemetry import Telemetry


class FeatureStage:
    """Decodes, then encodes; holds at most `max_clips` decoded clips in memory.

    Attributes:
        decoding: clips on their way to the encoder's queue.
    """

    def __init__(
        self, decode: DecodeStage, model: ModelThread, telemetry: Telemetry, max_clips: int
    ) -> None:
        self._decode, self._model, self._telemetry = decode, model, telemetry
        self._in_memory = asyncio.Semaphore(max_clips)
        self.decoding = 0

    async def extract(
        self,
        source: Source,
        options: ClipOptions,
        predictor: Predictor,
        *,
        work: ActiveClip,
        deadline_s: float,
        on_progress: ProgressCallback = no_progress,
    ) -> ClipFeatures:
        """Returns a clip's features; uploaded features pass unchanged.

        Args:
            source: the clip on disk, or its features.
            options: which of the clip's video tracks to read.
            predictor: has the encoder.
            work: its number of windows is set.
            deadline_s: on the running loop's clock.
            on_progress: called at every stage and every encoded batch.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: the deadline passed in a queue.
        """
        if isinstance(source, FeatureTrack):
            work.windows = 0
            return ClipFeatures(source)
        queued_s = time.perf_counter()
        async with self._in_memory:
            held_s = time.perf_counter() - queued_s
            cut, queued = await self._enqueue(source, options, predictor, deadline_s)
            work.windows = len(cut.windows)
            on_progress(Progress("decoded", 0, work.windows))
            parts = await _all_of(queued, on_progress, total=work.windows)
        track = track_from(
            torch.cat([part.value for part in parts]),
            cut.clip.num_frames,
            predictor.encoder,
            "clip",
            cut.clip.info,
        )
        times = StageTimes(
            queue_s=held_s + cut.waited_s + parts[0].waited_s,
            decode_s=cut.ran_s,
            features_s=sum(part.ran_s for part in parts),
        )
        self._telemetry.stage("features", times.features_s)
        return ClipFeatures(track, cut.clip, times)

    async def _enqueue(
        self, path: Path, options: ClipOptions, predictor: Predictor, deadline_s: float
    ) -> tuple[Cut, list[asyncio.Future[Completed[Tensor]]]]:
        """Decodes a clip and puts its windows into the encoder's queue."""
        self.decoding += 1
        try:
            cut = await self._decode.cut(
                path, predictor.encoder, deadline_s=deadline_s, video_track=options.video_track
            )
            self._telemetry.stage("decode", cut.ran_s)
            return cut, self._model.enqueue_windows(predictor, cut.windows, deadline_s=deadline_s)
        finally:
            self.decoding -= 1


async def _all_of(
    queued: list[asyncio.Future[Completed[Tensor]]], on_progress: ProgressCallback, *, total: int
) -> list[Completed[Tensor]]:
    """Returns every part of a clip's features, with a progress call for each."""
    done = 0

    def count(part: asyncio.Future[Completed[Tensor]]) -> None:
        nonlocal done
        if not part.cancelled() and part.exception() is None:
            done += len(part.result().value)
            on_progress(Progress("features", done, total))

    for part in queued:
        part.add_done_callback(count)
    return await every(queued)
