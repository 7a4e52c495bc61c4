"""Sight: a clip on disk -> features on the encoder's clock.

decode (worker processes) -> windows -> encode (micro-batches of windows across requests).
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
    """Decoders and encoder in a row, with so many clips between them and no more.

    Attributes:
        coming: clips on their way to the encoder's queue.
    """

    def __init__(
        self, decode: DecodeStage, model: ModelThread, telemetry: Telemetry, clips: int
    ) -> None:
        """Wires the stages.

        Args:
            decode: makes windows of clips.
            model: makes features of windows.
            telemetry: hears of the stages.
            clips: decoded clips that may be in memory, those being decoded included.
        """
        self._decode, self._model = decode, model
        self._telemetry = telemetry
        self._in_memory = asyncio.Semaphore(clips)
        self.coming = 0

    async def extract(
        self,
        source: Source,
        options: ClipOptions,
        predictor: Predictor,
        *,
        work: ActiveClip,
        deadline_s: float,
        tell: ProgressCallback = no_progress,
    ) -> ClipFeatures:
        """Returns a clip's features; what came as features is seen as it is.

        Args:
            source: the clip on disk, or its features.
            options: which of the clip's tracks to read.
            predictor: whose encoder sees it.
            work: learns how many windows there are to encode.
            deadline_s: on the running loop's clock.
            tell: hears of every stage.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: its turn came too late.
        """
        if isinstance(source, FeatureTrack):
            work.windows = 0
            return ClipFeatures(source)
        asked_s = time.perf_counter()
        async with self._in_memory:
            held_s = time.perf_counter() - asked_s
            cut, queued = await self._enqueue(source, options, predictor, deadline_s)
            work.windows = len(cut.windows)
            tell(Progress("decoded", 0, work.windows))
            parts = await _all_of(queued, tell, total=work.windows)
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
        self.coming += 1
        try:
            contract = predictor.encoder.contract
            track = options.video_track
            cut = await self._decode.cut(path, contract, deadline_s=deadline_s, video_track=track)
            self._telemetry.stage("decode", cut.ran_s)
            return cut, self._model.enqueue_windows(predictor, cut.windows, deadline_s=deadline_s)
        finally:
            self.coming -= 1


async def _all_of(
    queued: list[asyncio.Future[Completed[Tensor]]], tell: ProgressCallback, *, total: int
) -> list[Completed[Tensor]]:
    """Returns every part of a clip's features, telling of each as it comes."""
    done = 0

    def count(part: asyncio.Future[Completed[Tensor]]) -> None:
        nonlocal done
        if not part.cancelled() and part.exception() is None:
            done += len(part.result().value)
            tell(Progress("features", done, total))

    for part in queued:
        part.add_done_callback(count)
    return await every(queued)
