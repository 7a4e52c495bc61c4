"""Engine: a clip on disk, or its features -> predictions, with every stage bounded.

Feature stage (decode, then encode) -> reason (micro-batches of requests). One thread owns the
model. Independent of HTTP.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from extract.sandbox.pool import DecodePool
from model.predict.predictor import Predictor
from server.engine.active import served_sha256
from server.engine.bundle_loader import Reloader, load_predictor
from server.engine.decode_stage import DecodeStage, decode_pool
from server.engine.feature_stage import FeatureStage
from server.engine.health import CANARY, Lifecycle, Watchdog
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
from server.errors import NotReady
from server.scheduling.admission import Admission
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ClipOptions, PredictOptions
from server.settings.settings import Settings
from server.telemetry.telemetry import Telemetry
from server.telemetry.tracing import Tracing
from weights.storage.folders import Place

logger = logging.getLogger(__name__)

CLIPS_AHEAD = 4
"""Decoded clips that may wait for the model, beside those being decoded: bounds memory."""


class Engine:
    """The model's thread, the decoders, and the queues between them; started by `start`.

    Args:
        load: makes the predictor; runs on a thread of its own.
        pool: decoder processes.
        telemetry: default: metrics without tracing.
        latest_sha256: reads the hash of the bundle that `load` would load.
        load_from: makes the predictor of another bundle; gets its place and the one being served.

    Attributes:
        settings: limits in force.
        telemetry: metrics and spans.
        life: lifecycle state.
        admission: admission control.
        backpack: searches prototypes close to a clip or an action.
        long_video: pipeline for the videos of jobs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[], Predictor],
        pool: DecodePool,
        telemetry: Telemetry | None = None,
        latest_sha256: Callable[[], str] | None = None,
        load_from: Callable[[Place, Predictor], Predictor] | None = None,
    ) -> None:
        self.settings = settings
        self._load_from = load_from
        self.telemetry = telemetry or Telemetry()
        self.life = Lifecycle()
        self.admission = Admission(
            max_requests=settings.max_requests,
            max_windows=settings.max_queued_windows,
            share=settings.max_caller_share,
        )
        self._watchdog = Watchdog(
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
            lambda: self._feature_stage.decoding,
            telemetry=self.telemetry,
            on_device_error=self._watchdog.suspect,
        )
        self._feature_stage = FeatureStage(
            self._decode, self._model, self.telemetry, settings.decode_workers + CLIPS_AHEAD
        )
        self.backpack = BackpackSearch(
            self._feature_stage, self._model, self.admission, settings.max_segments
        )
        self.long_video = LongVideoPipeline(settings, self._model, self.admission)
        self._reloader = Reloader(
            load,
            self._decode,
            self._model,
            self.telemetry.metrics,
            latest_sha256=latest_sha256,
            timeout_s=settings.timeout_s,
        )
        self._register_gauges()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Engine":
        """Returns an engine with the predictor and decoders that the settings describe."""
        return cls(
            settings,
            load=lambda: load_predictor(settings),
            pool=decode_pool(settings),
            telemetry=Telemetry(tracing=Tracing.from_environment()),
            latest_sha256=lambda: served_sha256(settings),
            load_from=lambda place, like: load_predictor(settings, place, like=like),
        )

    @property
    def model(self) -> ModelThread:
        """The model's thread, for work that the engine does not know."""
        return self._model

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor.

        Raises:
            NotReady: it is not loaded yet, or could not be.
        """
        return self._model.predictor

    async def start(self) -> None:
        """Loads the bundle, starts the decoders and sends the canary through every stage.

        Never raises: after a failure, the lifecycle state is "broken".
        """
        started_s = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._decode.start())
                group.create_task(self._model.load())
            await self._send_canary()
        except Exception as error:  # the outermost edge of starting
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            self.life.fail(cause)
            logger.error("cannot serve: %s", cause, exc_info=cause)
            return
        if self.life.start():
            self._tasks.append(asyncio.create_task(self._watchdog.run()))
            if self.settings.reload_every_s:
                polling = self._reloader.poll(self.settings.reload_every_s)
                self._tasks.append(asyncio.create_task(polling))
            logger.info(
                "ready: %s %s on %s after %.1f s",
                self.predictor.name,
                self.predictor.version,
                self.settings.device,
                time.perf_counter() - started_s,
            )

    async def stop(self) -> None:
        """Ends the threads and the decoder processes."""
        self.life.drain()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._decode.stop()
        await self._model.stop()
        await asyncio.to_thread(self.telemetry.tracing.close)

    async def reload(self) -> None:
        """Hot reload: loads the bundle again, and serves it once it has answered the canary."""
        if self.life.state == "ready":
            await self._reloader.reload()

    async def replace(self, place: Place, commit: Callable[[], Awaitable[None]]) -> None:
        """Serves the bundle of another place, as `Reloader.replace` does; so are its errors.

        Requests that have begun end on the bundle that they began with.

        Raises:
            NotReady: the server is starting or stopping.
        """
        if self.life.state != "ready" or self._load_from is None:
            raise NotReady("another bundle can be served once the server is ready")
        served, load_from = self.predictor, self._load_from
        await self._reloader.replace(lambda: load_from(place, served), commit)

    @property
    def checks(self) -> dict[str, str]:
        """The checks behind readiness, each as a word that may be shown to any caller."""
        canary = "ok" if self.life.is_healthy else "missing"
        own = {"state": self.life.state, "canary": canary, "reload": self._reloader.result}
        return own | self.life.parts

    @contextmanager
    def admit(self, caller: str = "") -> Iterator[None]:
        """Holds a place for a request; taken when the first bytes of its body are there.

        Args:
            caller: whose share of the places is counted; empty: none.

        Raises:
            QueueFull: every place is taken, or too many windows are waiting.
            NotReady, Unhealthy, Draining: as `Lifecycle.require_open` does.
        """
        self.life.require_open()
        with self.admission.admit(caller):
            yield

    def _register_gauges(self) -> None:
        metrics = self.telemetry.metrics
        metrics.read(metrics.inflight, lambda: self.admission.requests)
        metrics.read(metrics.queued_windows, lambda: self.admission.windows)
        metrics.read(metrics.ready, lambda: self.life.is_ready)
        metrics.read_memory(self.settings.device)

    async def predict(
        self,
        source: Source,
        options: PredictOptions,
        *,
        deadline_s: float,
        on_progress: ProgressCallback = no_progress,
    ) -> ClipResult:
        """Returns the prediction for one clip.

        Args:
            source: the clip, or its features.
            options: tasks and segments to answer.
            deadline_s: on the running loop's clock.
            on_progress: called at every stage.

        Raises:
            UnknownTask: the bundle has no such task.
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
            result = await self._predict(source, options, deadline_s, on_progress)
        if result.clip is not None:
            self._watchdog.confirm()
        return result

    async def features(
        self, source: Source, options: ClipOptions | None = None, *, deadline_s: float
    ) -> ClipFeatures:
        """Returns a clip's features; arguments and errors as `FeatureStage.extract`."""
        async with until(deadline_s):
            with self.admission.work() as work:
                return await self._feature_stage.extract(
                    source,
                    options or ClipOptions(),
                    self.predictor,
                    work=work,
                    deadline_s=deadline_s,
                )

    async def _send_canary(self) -> None:
        """Takes the canary through every stage."""
        deadline_s = asyncio.get_running_loop().time() + self.settings.timeout_s
        await self._predict(CANARY, PredictOptions(), deadline_s, no_progress)

    async def _predict(
        self,
        source: Source,
        options: PredictOptions,
        deadline_s: float,
        on_progress: ProgressCallback,
    ) -> ClipResult:
        predictor = self.predictor
        with self.admission.work() as work:
            found = await self._feature_stage.extract(
                source,
                options,
                predictor,
                work=work,
                deadline_s=deadline_s,
                on_progress=on_progress,
            )
            request = predict_request(predictor, found.track, options)
            windows = len(found.track.features)
            on_progress(Progress("reasoning", windows, windows))
            reasoned = await self._model.reason(predictor, request, deadline_s=deadline_s)
        self.telemetry.stage("reason", reasoned.ran_s)
        queue_s = found.times.queue_s + reasoned.waited_s
        self.telemetry.stage("queue", queue_s)
        times = replace(found.times, queue_s=queue_s, reason_s=reasoned.ran_s)
        return ClipResult(predictor, found.clip, found.track, reasoned.value, times)
