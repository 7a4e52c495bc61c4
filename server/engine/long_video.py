"""LongRoad: a video of a job's length -> answers, behind everyone who waits for theirs.

The same stages as of a short clip, a little at a time: windows are encoded as they are decoded,
and segments are reasoned about a few together, always at low priority.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from extract.errors import DecoderDied, VideoRejected
from extract.features.extractor import track_from
from extract.features.track import FeatureTrack
from extract.windows import cut_windows
from model.nodes import cut_track
from model.predict.predictor import Predictor
from server.deadlines import until
from server.engine.request import (
    ClipFeatures,
    ClipResult,
    Progress,
    ProgressCallback,
    Source,
    StageTimes,
)
from server.engine.window_stream import VideoStream
from server.errors import FieldInvalid, VideoTooLong
from server.pieces import chunks_of, joined
from server.questions import check_segments, check_tasks, predict_request
from server.scheduling.admission import Admission
from server.scheduling.batcher import Completed
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ClipOptions, PredictOptions
from server.settings.settings import Settings

GIVE_WAY_S = 0.5
"""Longest wait of a batch while clips are being answered. They then have the cores to themselves,
not only the first places in the queue; a job on a server that is never idle still gets on."""


class LongVideoPipeline:
    """Decoder, encoder and model in a row for one job at a time each."""

    def __init__(self, settings: Settings, model: ModelThread, admission: Admission) -> None:
        """Wires the stages.

        Args:
            settings: what a job may cost.
            model: encodes and reasons.
            admission: knows whether somebody waits for an answer.
        """
        self._settings = settings
        self._model = model
        self._admission = admission

    def check(self, options: PredictOptions) -> None:
        """Raises unless `predict` would take the choices, as far as can be told by now.

        Raises:
            UnknownTask: a task the model does not know.
            FieldInvalid: more segments than the limit.
        """
        check_tasks(options, self._model.predictor)
        check_segments(options, self._settings.job_max_segments)

    async def predict(
        self, source: Source, options: PredictOptions, *, timeout_s: float, tell: ProgressCallback
    ) -> ClipResult:
        """Answers one video.

        Args:
            source: the video, or its features.
            options: what to answer.
            timeout_s: from now.
            tell: hears of every stage.

        Raises:
            VideoTooLong: it is longer than a job may be.
            DeadlineExceeded: it took too long.
            ServerError, ExtractError, ModelError: as the engine's `predict` does.
        """
        self.check(options)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        async with until(deadline_s, f"the job took over {timeout_s:g} s"):
            return await self._answer(source, options, deadline_s, tell)

    async def _answer(
        self, source: Source, options: PredictOptions, deadline_s: float, tell: ProgressCallback
    ) -> ClipResult:
        predictor = self._model.predictor
        seen = ClipFeatures(source) if isinstance(source, FeatureTrack) else None
        if seen is None:
            assert isinstance(source, Path)
            seen = await self._see(predictor, source, options, deadline_s, tell)
        cut = cut_track(seen.track, options.segments, options.segment_s)
        if len(cut) > self._settings.job_max_segments:
            limit = f"at most {self._settings.job_max_segments} segments"
            raise FieldInvalid(("/segment_s", f"cuts the video into {len(cut)} segments, {limit}"))
        tasks = frozenset(options.tasks or predictor.tasks)
        request = predict_request(seen.track, options, tasks=tasks, seed=options.seed)
        predictor.check(request)
        windows = len(seen.track.features)
        tell(Progress("reasoning", windows, windows))
        pieces = chunks_of(request, cut, predictor)
        done = [
            await self._model.reason(predictor, piece.request, deadline_s=deadline_s, is_low=True)
            for piece in pieces
        ]
        times = replace(
            seen.times,
            queue_s=seen.times.queue_s + sum(part.waited_s for part in done),
            reason_s=sum(part.ran_s for part in done),
        )
        answer = joined(pieces, [part.value for part in done])
        return ClipResult(predictor, seen.clip, seen.track, answer, times)

    async def _see(
        self,
        predictor: Predictor,
        path: Path,
        options: ClipOptions,
        deadline_s: float,
        tell: ProgressCallback,
    ) -> ClipFeatures:
        """A video's features; a decoder that dies gets one more chance, as with short clips."""
        try:
            try:
                return await self._stream(predictor, path, options, deadline_s, tell)
            except DecoderDied:
                return await self._stream(predictor, path, options, deadline_s, tell)
        except VideoRejected as error:
            if error.code in ("too-long", "too-many-frames"):
                raise VideoTooLong(error.detail) from error
            raise

    async def _stream(
        self,
        predictor: Predictor,
        path: Path,
        options: ClipOptions,
        deadline_s: float,
        tell: ProgressCallback,
    ) -> ClipFeatures:
        """Encodes windows as they come; the decoder waits while too many are unread."""
        encoder = predictor.encoder
        started_s = time.perf_counter()
        stream = VideoStream(path, encoder.contract, self._settings, options.video_track)
        thread = ThreadPoolExecutor(1, "job-decode")
        parts: list[Completed[Tensor]] = []
        count = 0
        try:
            batches, loop = stream.batches(), asyncio.get_running_loop()
            while (batch := await loop.run_in_executor(thread, next, batches, None)) is not None:
                await self._admission.wait_until_idle(GIVE_WAY_S)
                queued = self._model.enqueue_windows(
                    predictor, torch.from_numpy(batch), deadline_s=deadline_s, is_low=True
                )
                parts += await asyncio.gather(*queued)
                count += len(batch)
                tell(Progress("features", count, max(count, stream.num_windows)))
        finally:
            stream.stop()
            thread.submit(stream.close)  # after what it may still be reading
            thread.shutdown(wait=False)
        track = track_from(
            torch.cat([part.value for part in parts]),
            cut_windows(
                stream.num_frames,
                window_frames=encoder.contract.window_frames,
                stride_frames=encoder.contract.stride_frames,
            ),
            stream.num_frames,
            encoder.contract,
            encoder,
            "clip",
            stream.facts.info,
        )
        features_s = sum(part.ran_s for part in parts)
        queue_s = sum(part.waited_s for part in parts)
        rest_s = max(0.0, time.perf_counter() - started_s - features_s - queue_s)
        return ClipFeatures(track, stream.facts, StageTimes(queue_s, rest_s, features_s))
