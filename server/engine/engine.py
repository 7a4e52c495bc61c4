"""Engine: a clip on disk, or its features -> answers, with every stage bounded.

see (decode, then encode; `sight.py`) -> reason (micro-batches of requests). One thread owns the
model. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from extract.sandbox.pool import DecodePool
from model.predict.predictor import Predictor
from server.engine.bundle_loader import Reloader, load_predictor
from server.engine.decode_stage import DecodeStage, limits_of
from server.engine.feature_stage import FeatureStage
from server.engine.health import Lifecycle, Watchdog
from server.engine.long_video import LongVideoPipeline
from server.engine.request import (
    ClipFeatures,
    ClipResult,
    Progress,
    ProgressCallback,
    Source,
    check_segments,
    check_tasks,
    no_progress,
    predict_request,
    until,
)
from server.engine.search import BackpackSearch
from server.scheduling.admission import Admission
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ClipOptions, PredictOptions
from server.settings.settings import Settings
from server.telemetry.telemetry import Telemetry
from server.telemetry.tracing import Tracing
from weights.bundle.files import manifest_sha256

logger = logging.getLogger(__name__)

CANARY = Path(__file__).with_name("canary.mp4")
"""A second of moving bars: it takes the whole road before the first caller does."""

CLIPS_AHEAD = 4
"""Decoded clips that may wait for the model beside those being decoded: memory, not speed."""


class Engine:
    """The model, its one thread, the decoders, and the queues between them.

    Attributes:
        settings: limits in force.
        telemetry: where what happens is reported.
        life: where in its life it is.
        admission: who may come in.
        backpack: finds what is close to a clip or an action, and answers no task.
        long_road: answers videos that are too long for a caller to wait.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[], Predictor],
        pool: DecodePool,
        telemetry: Telemetry | None = None,
        look: Callable[[], str] | None = None,
    ) -> None:
        """Wires the parts; nothing is loaded and no process started before `start`.

        Args:
            settings: sizes of queues and batches, deadlines.
            load: makes the predictor; runs on the thread that will own it.
            pool: decodes in processes that can be killed.
            telemetry: where what happens is reported; default: counted, not traced.
            look: asks for the hash of the bundle that `load` would load.
        """
        self.settings = settings
        self.telemetry = telemetry or Telemetry()
        self.life = Lifecycle()
        self.admission = Admission(
            max_requests=settings.max_requests, max_windows=settings.max_queued_windows
        )
        self._watch = Watchdog(
            self._send_canary,
            life=self.life,
            metrics=self.telemetry.metrics,
            every_s=settings.canary_every_s,
            timeout_s=settings.canary_timeout_s,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._decode = DecodeStage(pool, settings.decode_workers, self.telemetry.metrics)
        self._model = ModelThread(
            settings,
            load,
            lambda: self._sight.coming,
            telemetry=self.telemetry,
            on_trouble=self._watch.suspect,
        )
        self._sight = FeatureStage(
            self._decode, self._model, self.telemetry, settings.decode_workers + CLIPS_AHEAD
        )
        self.backpack = BackpackSearch(
            self._sight, self._model, self.admission, settings.max_segments
        )
        self.long_road = LongVideoPipeline(settings, self._model, self.admission)
        self._reloader = Reloader(load, self._decode, self._model, self.telemetry.metrics, look)
        self._show_gauges()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Engine":
        """Wires the real predictor and decoders."""
        return cls(
            settings,
            load=lambda: load_predictor(settings),
            pool=DecodePool(
                workers=settings.decode_workers,
                limits=limits_of(settings),
                clips_per_worker=settings.clips_per_worker,
                reader=settings.reader,
            ),
            telemetry=Telemetry(tracing=Tracing.from_environment()),
            look=lambda: manifest_sha256(settings.bundle),
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

        Never raises: after a failure, its life is "broken".
        """
        started_s = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._decode.start())
                group.create_task(self._model.load())
            await self._send_canary()
        except Exception as error:  # the outermost edge of starting: whatever it is, say so
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            self.life.fail(cause)
            logger.error("cannot serve: %s", cause, exc_info=cause)
            return
        if self.life.start():
            self._tasks.append(asyncio.create_task(self._watch.run()))
            if self.settings.reload_every_s:
                self._tasks.append(asyncio.create_task(self._follow()))
            logger.info(
                "ready: %s %s on %s after %.1f s",
                self.predictor.name,
                self.predictor.version,
                self.settings.device,
                time.perf_counter() - started_s,
            )

    async def stop(self) -> None:
        """Ends the threads and the decoding processes."""
        self.life.drain()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._decode.stop()
        await self._model.stop()
        await asyncio.to_thread(self.telemetry.tracing.close)

    async def reload(self) -> None:
        """Loads the bundle again beside the one being served, and serves it if it answers."""
        if self.life.state == "ready":
            await self._reloader.reload(CANARY, timeout_s=self.settings.timeout_s)

    async def _follow(self) -> None:
        settings = self.settings
        await self._reloader.follow(
            CANARY, every_s=settings.reload_every_s, timeout_s=settings.timeout_s
        )

    @property
    def checks(self) -> dict[str, str]:
        """What readiness rests on, each in a word that is safe to show to anybody."""
        canary = "ok" if self.life.is_healthy else "missing"
        return {"state": self.life.state, "canary": canary, "reload": self._reloader.result}

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds one of the places for requests; taken before a byte of the body is read.

        Raises:
            QueueFull: every place is taken, or too many windows are waiting.
            NotReady: starting or broken.
            Unhealthy: canaries do not come back.
            Draining: stopping.
        """
        self.life.require_open()
        with self.admission.admit():
            yield

    def _show_gauges(self) -> None:
        """Lets metrics read what only we know."""
        metrics = self.telemetry.metrics
        metrics.read(metrics.inflight, lambda: self.admission.requests)
        metrics.read(metrics.queued_windows, lambda: self.admission.windows)
        metrics.read(metrics.ready, lambda: self.life.state == "ready" and self.life.is_healthy)
        metrics.read_memory(self.settings.device)

    async def predict(
        self,
        source: Source,
        options: PredictOptions,
        *,
        deadline_s: float,
        tell: ProgressCallback = no_progress,
    ) -> ClipResult:
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
            OutOfMemory: the device cannot hold it.
            DeadlineExceeded: the deadline passed first.
        """
        check_tasks(options, self.predictor)
        check_segments(options, self.settings.max_segments)
        async with until(deadline_s):
            outcome = await self._answer(source, options, deadline_s, tell)
        if outcome.clip is not None:
            self._watch.confirm()
        return outcome

    async def features(
        self, source: Source, options: ClipOptions | None = None, *, deadline_s: float
    ) -> ClipFeatures:
        """Returns a clip's features.

        Args:
            source: the clip, or its features.
            options: which of its tracks to read.
            deadline_s: on the running loop's clock.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: the deadline passed first.
        """
        async with until(deadline_s):
            with self.admission.work() as work:
                return await self._sight.extract(
                    source,
                    options or ClipOptions(),
                    self.predictor,
                    work=work,
                    deadline_s=deadline_s,
                )

    async def _send_canary(self) -> None:
        """Takes the canary through every stage; whoever sends it may give up sooner."""
        deadline_s = asyncio.get_running_loop().time() + self.settings.timeout_s
        await self._answer(CANARY, PredictOptions(), deadline_s, no_progress)

    async def _answer(
        self, source: Source, options: PredictOptions, deadline_s: float, tell: ProgressCallback
    ) -> ClipResult:
        predictor = self.predictor
        with self.admission.work() as work:
            seen = await self._sight.extract(
                source, options, predictor, work=work, deadline_s=deadline_s, tell=tell
            )
            tasks = frozenset(options.tasks or predictor.tasks)
            request = predict_request(seen.track, options, tasks=tasks, seed=options.seed)
            predictor.check(request)
            windows = len(seen.track.features)
            tell(Progress("reasoning", windows, windows))
            reasoned = await self._model.reason(predictor, request, deadline_s=deadline_s)
        self.telemetry.stage("reason", reasoned.ran_s)
        queue_s = seen.times.queue_s + reasoned.waited_s
        self.telemetry.stage("queue", queue_s)
        times = replace(seen.times, queue_s=queue_s, reason_s=reasoned.ran_s)
        return ClipResult(predictor, seen.clip, seen.track, reasoned.value, times)
