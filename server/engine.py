"""Engine: a clip on disk -> answers, with every stage bounded.

decode (worker processes) -> windows -> encode (micro-batches of windows across requests)
-> reason (micro-batches of requests). One thread owns the model. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from extract.sandbox import DecodePool
from model.errors import UnknownTask
from model.predictor import Predictor
from server.admission import Admission
from server.batcher import Done, every
from server.canary import Watch
from server.decoding import Cut, DecodeStage, limits_of
from server.errors import DeadlineExceeded, FieldInvalid
from server.life import Life, State
from server.loading import load_predictor
from server.model_thread import ModelThread
from server.options import PredictOptions
from server.outcome import Outcome, StageTimes
from server.reload import Reloader
from server.requests import request_of
from server.seen import Seen
from server.settings import Settings
from server.tracing import Tracing

logger = logging.getLogger(__name__)

CANARY = Path(__file__).with_name("canary.mp4")
"""A second of moving bars: it takes the whole road before the first caller does."""

CLIPS_AHEAD = 4
"""Decoded clips that may wait for the model beside those being decoded: memory, not speed."""


class Engine:
    """The model, its one thread, the decoders, and the queues between them.

    Attributes:
        settings: limits in force.
        seen: where what happens is reported.
        life: where in its life it is.
        admission: who may come in.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[], Predictor],
        pool: DecodePool,
        seen: Seen | None = None,
    ) -> None:
        """Wires the parts; nothing is loaded and no process started before `start`.

        Args:
            settings: sizes of queues and batches, deadlines.
            load: makes the predictor; runs on the thread that will own it.
            pool: decodes in processes that can be killed.
            seen: where what happens is reported; default: counted, not traced.
        """
        self.settings = settings
        self.seen = seen or Seen()
        self.life = Life()
        self.admission = Admission(
            max_requests=settings.max_requests, max_windows=settings.max_queued_windows
        )
        self._watch = Watch(
            self._send_canary,
            life=self.life,
            metrics=self.seen.metrics,
            every_s=settings.canary_every_s,
            timeout_s=settings.canary_timeout_s,
        )
        self._watching: asyncio.Task[None] | None = None
        self._decode = DecodeStage(pool, settings.decode_workers, self.seen.metrics)
        self._model = ModelThread(
            settings,
            load,
            lambda: self._coming,
            seen=self.seen,
            on_trouble=self._watch.doubt,
        )
        self._reloader = Reloader(load, self._decode, self._model, self.seen.metrics)
        self._coming = 0  # requests on their way to the model's first queue
        self._in_memory = asyncio.Semaphore(settings.decode_workers + CLIPS_AHEAD)
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
            ),
            seen=Seen(tracing=Tracing.from_environment()),
        )

    @property
    def state(self) -> State:
        """Where in its life it is."""
        return self.life.state

    @property
    def failure(self) -> BaseException | None:
        """Why it is broken."""
        return self.life.failure

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
        if self.life.begin():
            self._watching = asyncio.create_task(self._watch.run())
            logger.info(
                "ready: %s %s on %s after %.1f s",
                self.predictor.name,
                self.predictor.version,
                self.settings.device,
                time.perf_counter() - started_s,
            )

    def retire(self) -> None:
        """Asks balancers to look elsewhere, while whoever comes is still served."""
        self.life.retire()

    def drain(self) -> None:
        """Refuses new work from here on; what was accepted is finished."""
        self.life.drain()

    async def stop(self) -> None:
        """Ends the threads and the decoding processes."""
        self.drain()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._decode.stop()
        await self._model.stop()
        await asyncio.to_thread(self.seen.tracing.close)

    async def reload(self) -> None:
        """Loads the bundle again beside the one being served, and serves it if it answers."""
        if self.state == "ready":
            await self._reloader.reload(CANARY, timeout_s=self.settings.timeout_s)

    def require_ready(self) -> None:
        """Raises unless new work should be sent here.

        Raises:
            NotReady: starting or broken.
            Unhealthy: canaries do not come back.
            Draining: about to stop, or stopping.
        """
        self.life.require_ready()

    @property
    def checks(self) -> dict[str, str]:
        """What readiness rests on, each in a word that is safe to show to anybody."""
        canary = "ok" if self.life.is_healthy else "missing"
        return {"state": self.state, "canary": canary, "reload": self._reloader.result}

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
        metrics = self.seen.metrics
        metrics.read(metrics.inflight, lambda: self.admission.requests)
        metrics.read(metrics.queued_windows, lambda: self.admission.windows)
        metrics.read(metrics.ready, lambda: self.state == "ready" and self.life.is_healthy)
        metrics.read_memory(self.settings.device)

    async def predict(self, path: Path, options: PredictOptions, *, deadline_s: float) -> Outcome:
        """Answers one clip.

        Args:
            path: the clip on disk.
            options: what to answer.
            deadline_s: on the running loop's clock.

        Raises:
            UnknownTask: a task the model does not know.
            FieldInvalid: more segments than the limit.
            SegmentInvalid: a segment outside the clip.
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: the deadline passed first.
        """
        self._check(options)
        try:
            async with asyncio.timeout_at(deadline_s):
                outcome = await self._answer(path, options, deadline_s)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer was ready") from error
        self._watch.prove()
        return outcome

    async def _send_canary(self) -> None:
        """Takes the canary through every stage; whoever sends it may give up sooner."""
        deadline_s = asyncio.get_running_loop().time() + self.settings.timeout_s
        await self._answer(CANARY, PredictOptions(), deadline_s)

    def _check(self, options: PredictOptions) -> None:
        """What can be refused before any work is done."""
        for task in options.tasks or ():
            if task not in self.predictor.tasks:
                raise UnknownTask(task, self.predictor.tasks)
        limit = self.settings.max_segments
        if options.segments is not None and len(options.segments) > limit:
            raise FieldInvalid(("/segments", f"at most {limit} segments"))

    async def _answer(self, path: Path, options: PredictOptions, deadline_s: float) -> Outcome:
        predictor = self.predictor
        asked_s = time.perf_counter()
        with self.admission.work() as work:
            async with self._in_memory:
                held_s = time.perf_counter() - asked_s
                cut, queued = await self._enqueue(predictor, path, deadline_s)
                work.windows = len(cut.windows)
                parts = await every(queued)
            self.seen.stage("features", features_s := sum(part.ran_s for part in parts))
            request = request_of(predictor, cut, [part.value for part in parts], options)
            predictor.check(request)
            reasoned = await self._model.reason(predictor, request, deadline_s=deadline_s)
            self.seen.stage("reason", reasoned.ran_s)
        queue_s = held_s + cut.waited_s + parts[0].waited_s + reasoned.waited_s
        self.seen.stage("queue", queue_s)
        times = StageTimes(queue_s, cut.ran_s, features_s, reasoned.ran_s)
        return Outcome(predictor, cut.clip, request.track, reasoned.value, times)

    async def _enqueue(
        self, predictor: Predictor, path: Path, deadline_s: float
    ) -> tuple[Cut, list[asyncio.Future[Done[Tensor]]]]:
        """Decodes a clip and puts its windows into the model's first queue."""
        self._coming += 1
        try:
            contract = predictor.encoder.contract
            cut = await self._decode.cut(path, contract, deadline_s=deadline_s)
            self.seen.stage("decode", cut.ran_s)
            queued = self._model.enqueue_windows(predictor, cut.windows, deadline_s=deadline_s)
            return cut, queued
        finally:
            self._coming -= 1
