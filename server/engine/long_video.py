"""Long-video pipeline: the video of a job -> a prediction, streamed and at low priority.

The stages of a short clip, in small steps: windows are encoded as they are decoded, and segments
are answered in overlapping chunks.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from extract.encoders.encoder import preparer
from extract.errors import DecoderDied, VideoRejected
from extract.features.extractor import track_from
from extract.features.track import FeatureTrack
from model.nodes import Bounds, cut_track
from model.predict.outputs import Prediction, SegmentAnswer
from model.predict.predictor import Predictor, PredictRequest
from model.tasks import LTA
from server.engine.request import (
    ClipFeatures,
    ClipResult,
    PartCallback,
    Progress,
    ProgressCallback,
    Source,
    StageTimes,
    check_segments,
    check_tasks,
    no_progress,
    predict_request,
    until,
)
from server.engine.window_stream import VideoStream
from server.errors import FieldInvalid, VideoTooLong
from server.scheduling.admission import Admission
from server.scheduling.batcher import Completed, Priority
from server.scheduling.model_thread import ModelThread
from server.schemas.options import PredictOptions
from server.settings.settings import Settings

CHUNK_SEGMENTS = 16
"""Segments answered together, so that other requests wait for no more than these."""

MAX_YIELD_S = 0.5
"""Longest wait of a batch for an idle server. Clips of requests then have all cores, not only
priority in the queue; a job on a server that is never idle still progresses."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of the request about a long track.

    Attributes:
        request: for the chunk's segments and those around them within the predictor's reach.
        first: index, among all segments, of the request's first one.
        overlap: answers at its beginning that belong to the chunk before.
        count: answers after those that belong to this chunk.
    """

    request: PredictRequest
    first: int
    overlap: int
    count: int

    def own(self, prediction: Prediction) -> list[SegmentAnswer]:
        """Returns the answers that belong to this chunk, of all to its request."""
        return prediction.segments[self.overlap : self.overlap + self.count]


def chunks_of(request: PredictRequest, cut: Sequence[Bounds], predictor: Predictor) -> list[Chunk]:
    """Returns the chunks of a request, in order; forecasts are made by the last one only.

    A sequence forecaster looks back on many segments: where there are several chunks, a further
    one has its answer alone.

    Args:
        request: the whole request.
        cut: all its segments.
        predictor: has the reach of an answer, in segments.
    """
    chunks = []
    not_forecasts = request.tasks - predictor.forecasts
    is_whole = len(cut) <= CHUNK_SEGMENTS
    looks_back = predictor.look_back > 0 and LTA.name in request.tasks and not is_whole
    for start in range(0, len(cut), CHUNK_SEGMENTS):
        end = min(start + CHUNK_SEGMENTS, len(cut))
        first = max(0, start - predictor.reach)
        part = replace(
            request,
            segments=tuple(cut[first : end + predictor.reach]),
            tasks=request.tasks if end == len(cut) and not looks_back else not_forecasts,
        )
        chunks.append(Chunk(part, first, start - first, end - start))
    if looks_back:
        first = max(0, len(cut) - predictor.look_back - predictor.reach)
        tasks = request.tasks & predictor.forecasts
        whole = replace(request, segments=tuple(cut[first:]), tasks=tasks)
        chunks.append(Chunk(whole, first, len(cut) - first, 0))
    return chunks


def join_chunks(chunks: Sequence[Chunk], predictions: Sequence[Prediction]) -> Prediction:
    """Returns the prediction for the whole request."""
    segments = [
        segment
        for chunk, prediction in zip(chunks, predictions, strict=True)
        for segment in chunk.own(prediction)
    ]
    first, last = chunks[-1].first, predictions[-1]
    lta = last.lta
    if lta is not None:
        lta = replace(lta, observed=[first + index for index in lta.observed])
    skills = {
        name: replace(answer, observed=[first + index for index in answer.observed])
        for name, answer in last.skills.items()
    }
    return Prediction(segments, lta, skills)


@dataclass(frozen=True, eq=False)
class _Run:
    predictor: Predictor
    options: PredictOptions
    deadline_s: float
    on_progress: ProgressCallback
    on_part: PartCallback | None


class LongVideoPipeline:
    """Decodes, encodes and reasons, for the video of each job."""

    def __init__(self, settings: Settings, model: ModelThread, admission: Admission) -> None:
        self._settings, self._model, self._admission = settings, model, admission

    def check(self, options: PredictOptions) -> None:
        """Checks options before there is a track; errors as `check_tasks`, `check_segments`."""
        check_tasks(options, self._model.predictor)
        check_segments(options, self._settings.job_max_segments)

    async def predict(
        self,
        source: Source,
        options: PredictOptions,
        *,
        timeout_s: float,
        on_progress: ProgressCallback,
        on_part: PartCallback | None = None,
    ) -> ClipResult:
        """Returns the prediction for one video.

        Args:
            source: the video, or its features.
            options: tasks and segments to answer.
            timeout_s: from now.
            on_progress: called at every stage and every encoded batch.
            on_part: gets the segments, some at a time; those of the result are then empty.

        Raises:
            VideoTooLong: it is longer than a job may be.
            DeadlineExceeded: it took too long.
            ServerError, ExtractError, ModelError: as the engine's `predict` does.
        """
        self.check(options)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        run = _Run(self._model.predictor, options, deadline_s, on_progress, on_part)
        async with until(deadline_s, f"the job took over {timeout_s:g} s"):
            if isinstance(source, FeatureTrack):
                return await self._reason(ClipFeatures(source), run)
            return await self._reason(await self._extract(source, run), run)

    async def answer(
        self, track: FeatureTrack, predictor: Predictor, options: PredictOptions
    ) -> ClipResult:
        """Returns the prediction for a track by the predictor whose encoder made it.

        Raises:
            DeadlineExceeded: it took too long.
            ServerError, ModelError: as `predict` does.
        """
        timeout_s = self._settings.job_timeout_s
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        run = _Run(predictor, options, deadline_s, no_progress, None)
        async with until(deadline_s, f"the answer took over {timeout_s:g} s"):
            return await self._reason(ClipFeatures(track), run)

    async def _reason(self, found: ClipFeatures, run: _Run) -> ClipResult:
        cut = cut_track(found.track, run.options.segments, run.options.segment_s)
        if len(cut) > self._settings.job_max_segments:
            limit = f"at most {self._settings.job_max_segments} segments"
            raise FieldInvalid(("/segment_s", f"cuts the video into {len(cut)} segments, {limit}"))
        request = predict_request(run.predictor, found.track, run.options)
        windows = len(found.track.features)
        run.on_progress(Progress("reasoning", windows, windows))
        chunks = chunks_of(request, cut, run.predictor)
        done = []
        for chunk in chunks:
            part = await self._model.reason(
                run.predictor, chunk.request, deadline_s=run.deadline_s, priority=Priority.LOW
            )
            if run.on_part is not None:
                own = replace(part.value, segments=chunk.own(part.value))
                await run.on_part(
                    ClipResult(run.predictor, found.clip, found.track, own, found.times)
                )
                part = replace(part, value=replace(part.value, segments=[]))
            done.append(part)
        times = replace(
            found.times,
            queue_s=found.times.queue_s + sum(part.waited_s for part in done),
            reason_s=sum(part.ran_s for part in done),
        )
        prediction = join_chunks(chunks, [part.value for part in done])
        return ClipResult(run.predictor, found.clip, found.track, prediction, times)

    async def _extract(self, path: Path, run: _Run) -> ClipFeatures:
        """A video's features; retries once after a decoder crash, as with short clips."""
        try:
            try:
                return await self._stream(path, run)
            except DecoderDied:
                return await self._stream(path, run)
        except VideoRejected as error:
            if error.code in ("too-long", "too-many-frames"):
                raise VideoTooLong(error.detail) from error
            raise

    async def _stream(self, path: Path, run: _Run) -> ClipFeatures:
        """Encodes windows while decoding; the decoder blocks while too many are unread."""
        encoder = run.predictor.encoder
        started_s = time.perf_counter()
        stream = VideoStream(
            path, encoder.contract, self._settings, run.options.video_track, preparer(encoder)
        )
        thread = ThreadPoolExecutor(1, "job-decode")
        parts: list[Completed[Tensor]] = []
        count = 0
        try:
            batches, loop = stream.batches(), asyncio.get_running_loop()
            while (batch := await loop.run_in_executor(thread, next, batches, None)) is not None:
                await self._admission.wait_until_idle(MAX_YIELD_S)
                queued = self._model.enqueue_windows(
                    run.predictor, batch, deadline_s=run.deadline_s, priority=Priority.LOW
                )
                parts += await asyncio.gather(*queued)
                count += len(batch)
                run.on_progress(Progress("features", count, max(count, stream.num_windows)))
        finally:
            stream.stop()
            thread.submit(stream.close)  # after a read that is still running
            thread.shutdown(wait=False)
        features = torch.cat([part.value for part in parts])
        track = track_from(features, stream.num_frames, encoder, "clip", stream.facts.info)
        features_s = sum(part.ran_s for part in parts)
        queue_s = sum(part.waited_s for part in parts)
        rest_s = max(0.0, time.perf_counter() - started_s - features_s - queue_s)
        return ClipFeatures(track, stream.facts, StageTimes(queue_s, rest_s, features_s))
