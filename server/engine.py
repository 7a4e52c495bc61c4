"""Engine: a clip on disk, or its features -> answers, with every stage bounded.

see (decode, then encode; `sight.py`) -> reason (micro-batches of requests). One thread owns the
model. Knows nothing of HTTP.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from extract.clip import Limits
from extract.features import FeaturesOnly
from extract.sandbox import DecodePool
from model.predictor import Predictor
from server.decoding import DecodeStage
from server.errors import DeadlineExceeded, Draining, FieldInvalid, NotReady, QueueFull
from server.long_road import LongRoad
from server.model_thread import ModelThread
from server.options import ActionOptions, PredictOptions, SearchOptions, SegmentOptions
from server.questions import check_tasks, look_of, predict_request
from server.settings import Settings
from server.sight import Sight
from server.stages import Found, Outcome, Progress, Seen, Source, StageTimes, Tell, tell_nobody
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError

logger = logging.getLogger(__name__)

CANARY = Path(__file__).with_name("canary.mp4")
"""A second of moving bars: it takes the whole road before the first caller does."""

CLIPS_AHEAD = 4
"""Decoded clips that may wait for the model beside those being decoded: memory, not speed."""

State = Literal["starting", "ready", "draining", "broken"]


class Engine:
    """The model, its one thread, the decoders, and the queues between them.

    Attributes:
        settings: limits in force.
        state: where in its life it is.
        failure: why it is broken.
        long_road: answers videos that are too long for a caller to wait.
    """

    def __init__(
        self, settings: Settings, *, load: Callable[[], Predictor], pool: DecodePool
    ) -> None:
        """Wires the parts; nothing is loaded and no process started before `start`.

        Args:
            settings: sizes of queues and batches, deadlines.
            load: makes the predictor; runs on the thread that will own it.
            pool: decodes in processes that can be killed.
        """
        self.settings = settings
        self.state: State = "starting"
        self.failure: Exception | None = None
        self._decode = DecodeStage(pool, settings.decode_workers)
        self._model = ModelThread(settings, load, lambda: self._sight.coming)
        self._sight = Sight(self._decode, self._model, settings.decode_workers + CLIPS_AHEAD)
        self.long_road = LongRoad(settings, self._model)
        self._admitted = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Engine":
        """Wires the real predictor and decoders."""
        limits = Limits(
            max_duration_s=settings.max_duration_s,
            max_frames=settings.max_frames,
            max_pixels=settings.max_pixels,
            decode_wall_s=settings.decode_wall_s,
            cpu_s=math.ceil(2 * settings.decode_wall_s),
            memory_mb=settings.decode_memory_mb,
        )
        return cls(
            settings,
            load=lambda: load_predictor(settings),
            pool=DecodePool(
                workers=settings.decode_workers,
                limits=limits,
                clips_per_worker=settings.clips_per_worker,
            ),
        )

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor.

        Raises:
            NotReady: it is not loaded yet, or could not be.
        """
        return self._model.predictor

    async def start(self) -> None:
        """Loads the bundle, starts the decoders and sends the canary down the whole road.

        Never raises: a failure is kept in `failure`, and the state becomes "broken".
        """
        started_s = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._decode.start())
                group.create_task(self._model.load())
            deadline_s = loop.time() + self.settings.timeout_s
            await self._answer(CANARY, PredictOptions(), deadline_s, tell_nobody)
        except Exception as error:  # the outermost edge of starting: whatever it is, say so
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            self.failure, self.state = cause, "broken"
            logger.error("cannot serve: %s", cause, exc_info=cause)
            return
        if self.state == "starting":
            self.state = "ready"
            logger.info(
                "ready: %s %s on %s after %.1f s",
                self.predictor.name,
                self.predictor.version,
                self.settings.device,
                time.perf_counter() - started_s,
            )

    def drain(self) -> None:
        """Refuses new work from here on; what was accepted is finished."""
        if self.state != "broken":
            self.state = "draining"

    async def stop(self) -> None:
        """Ends the threads and the decoding processes."""
        self.drain()
        await self._decode.stop()
        await self._model.stop()

    def require_ready(self) -> None:
        """Raises unless new work is welcome.

        Raises:
            NotReady: starting or broken.
            Draining: stopping.
        """
        if self.state == "draining":
            raise Draining("the server is stopping")
        if self.state != "ready":
            raise NotReady("the server is not ready")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds one of the places for requests; taken before a byte of the body is read.

        Raises:
            QueueFull: every place is taken.
            NotReady: starting or broken.
            Draining: stopping.
        """
        self.require_ready()
        if self._admitted >= self.settings.max_requests:
            raise QueueFull(self._retry_after_s())
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def predict(
        self,
        source: Source,
        options: PredictOptions,
        *,
        deadline_s: float,
        tell: Tell = tell_nobody,
    ) -> Outcome:
        """Answers one clip.

        Args:
            source: the clip, or its features.
            options: what to answer.
            deadline_s: on the running loop's clock.
            tell: hears of every stage.

        Raises:
            UnknownTask: a task the model does not know.
            FieldInvalid: more segments than the limit.
            SegmentInvalid: a segment outside the clip.
            ExtractError: the clip cannot be decoded.
            FeatureMismatch: the features are another encoder's.
            DeadlineExceeded: the deadline passed first.
        """
        check_tasks(options, self.predictor)
        self._check_segments(options)
        async with _until(deadline_s):
            return await self._answer(source, options, deadline_s, tell)

    async def features(self, source: Source, *, deadline_s: float) -> Seen:
        """Returns a clip's features.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: the deadline passed first.
        """
        async with _until(deadline_s):
            return await self._sight.see(source, deadline_s=deadline_s)

    async def search(self, source: Source, options: SearchOptions, *, deadline_s: float) -> Found:
        """Returns the prototypes closest to a clip's segments.

        Raises:
            SearchInvalid: there is no such backpack or perspective.
            ModelError, ExtractError, DeadlineExceeded: as `predict` does.
        """
        self._check_segments(options)
        look = look_of(options)
        async with _until(deadline_s):
            seen = await self._sight.see(source, deadline_s=deadline_s)
            request = predict_request(seen.track, options, tasks=frozenset())
            ran = await self._model.run(lambda owner: owner.search(request, look))
        segments, matches = ran.value
        times = replace(seen.times, queue_s=seen.times.queue_s + ran.waited_s, reason_s=ran.ran_s)
        return Found(matches.backbone, matches.nearest, segments, times)

    async def search_action(self, options: ActionOptions, *, deadline_s: float) -> Found:
        """Returns the prototypes closest to those of one action.

        Raises:
            SearchInvalid: no prototype has this verb and noun, or there is no such backpack or
                perspective.
            DeadlineExceeded: the deadline passed first.
        """
        look = look_of(options)
        async with _until(deadline_s):
            ran = await self._model.run(
                lambda owner: owner.backpacks.of_action(options.verb, options.noun, look)
            )
        times = StageTimes(queue_s=ran.waited_s, reason_s=ran.ran_s)
        return Found(ran.value.backbone, ran.value.nearest, [], times)

    def _check_segments(self, options: SegmentOptions) -> None:
        """What can be refused before any work is done."""
        limit = self.settings.max_segments
        if options.segments is not None and len(options.segments) > limit:
            raise FieldInvalid(("/segments", f"at most {limit} segments"))

    async def _answer(
        self, source: Source, options: PredictOptions, deadline_s: float, tell: Tell
    ) -> Outcome:
        predictor = self.predictor
        seen = await self._sight.see(source, deadline_s=deadline_s, tell=tell)
        tasks = frozenset(options.tasks or predictor.tasks)
        request = predict_request(seen.track, options, tasks=tasks, seed=options.seed)
        predictor.check(request)
        windows = len(seen.track.features)
        tell(Progress("reasoning", windows, windows))
        reasoned = await self._model.reason(request, deadline_s=deadline_s)
        times = replace(
            seen.times,
            queue_s=seen.times.queue_s + reasoned.waited_s,
            reason_s=reasoned.ran_s,
        )
        return Outcome(seen.clip, seen.track, reasoned.value, times)

    def _retry_after_s(self) -> int:
        """Whole seconds until those inside should be done, spread so callers do not return as one.

        The slower of decoding and the model's thread decides how fast requests leave.
        """
        each_s = max(self._decode.seconds_per_clip, self._model.seconds_per_request)
        estimate_s = self._admitted * each_s * random.uniform(0.8, 1.2)
        return max(1, min(60, math.ceil(estimate_s)))


@asynccontextmanager
async def _until(deadline_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed before the answer was ready") from error


def load_predictor(settings: Settings) -> Predictor:
    """Loads the bundle that is to be served.

    Raises:
        WeightsError: there is no bundle, it cannot be trusted, or it cannot see video.
    """
    predictor = Predictor.from_bundle(settings.bundle, device=settings.device)
    if isinstance(predictor.encoder, FeaturesOnly):
        found = f"none: this bundle answers for {predictor.encoder.name} features"
        raise BundleError(ENCODER_FILE, expected="an encoder, as callers send video", found=found)
    return predictor
