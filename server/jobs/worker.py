"""Job worker: claims jobs from the store, runs them through the engine, keeps the results.

An interrupted job starts again from the beginning of its video: on this server after a restart, or
on another once its lease is no longer renewed. Its result is written once all the same. What is no
fault of a job, such as a full disk or a store that is away, is waited for under the job's lease.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from server.engine.engine import Engine
from server.engine.request import ClipResult, Progress, ProgressCallback, Source
from server.engine.response_pieces import PredictionPieces
from server.engine.uploaded_features import read_features
from server.errors import JobsUnavailable, kind_of
from server.jobs import setbacks
from server.jobs.files import JobFiles, ResultFile
from server.jobs.records import InputKind, Job
from server.jobs.store import JobStore, LeaseLost
from server.schemas.options import PredictOptions
from server.schemas.problems import problem_from

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Interval at which the store is polled for jobs that other servers accepted or canceled."""

Made = TypeVar("Made")

CLIPS: tuple[InputKind, ...] = ("video", "features")
"""Inputs of jobs that predict."""

LABELS: tuple[InputKind, ...] = ("labels",)
"""Inputs of jobs that teach."""

Teach = Callable[[Job, Path, ProgressCallback], Awaitable[bytes]]
"""Teaches the skill of a job, whose input is a file; returns the result."""


class JobWorker:
    """Processes jobs, one in each concurrent `step`.

    Args:
        limits: go into problem details.
        teach: for jobs that teach a skill; None leaves them to other servers.
    """

    def __init__(
        self,
        engine: Engine,
        store: JobStore,
        files: JobFiles,
        limits: Mapping[str, float],
        teach: Teach | None = None,
    ) -> None:
        self._teach = teach
        self._engine, self._store, self._files = engine, store, files
        self._settings = engine.settings
        self._limits = limits
        self._arrived = asyncio.Event()
        self._running: dict[str, tuple[asyncio.Task[ResultFile], _ProgressBuffer]] = {}

    def wake(self) -> None:
        """Wakes idle workers after a job was accepted."""
        self._arrived.set()

    def cancel(self, job_id: str) -> None:
        """Stops the work on a canceled job, if it runs in this process."""
        if job_id in self._running:
            self._running[job_id][0].cancel()

    def waiting(self, job_id: str) -> dict[str, Any] | None:
        """Returns the progress of a job that waits in this process, as JSON.

        A store that is away or full does not know of it.
        """
        _, buffer = self._running.get(job_id, (None, None))
        return None if buffer is None else buffer.waiting

    async def step(self, kinds: Collection[InputKind] = CLIPS) -> bool:
        """Processes the next job, or waits for one; returns True, as another may follow at once.

        When cancelled, it puts its job back into the queue.

        Args:
            kinds: of the inputs of jobs that it may process.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        job = None
        life = self._engine.life
        if life.state == "ready" and life.is_healthy:
            job = await self._store.call(
                self._store.claim,
                now_s=time.time(),
                lease_s=self._settings.job_lease_s,
                clock_s=time.monotonic(),
                kinds=kinds,
            )
        if job is not None:
            await self._process(job)
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._arrived.wait()
        self._arrived.clear()
        return True

    async def _process(self, job: Job) -> None:
        """Brings a claimed job to its end, unless its lease is lost."""
        logger.info("job %s: started, attempt %d", job.id, job.attempt)
        try:
            try:
                result = await self._work_while_leased(job)
            except LeaseLost:
                logger.info("job %s: canceled, or claimed by another worker", job.id)
            except Exception as error:  # the outermost edge of a job: any error ends it
                await self._settle_failure(job, error)
            else:
                await self._keep_result(job, result)
        except asyncio.CancelledError:
            await asyncio.shield(self._put_back(job))
            raise

    async def _work_while_leased(self, job: Job) -> ResultFile:
        """Returns the written result; stops as soon as the lease is lost."""
        if job.attempt > self._settings.job_max_attempts:
            raise RuntimeError(f"the server died {job.attempt - 1} times in mid-job")
        buffer = _ProgressBuffer()
        work = asyncio.create_task(self._work(job, buffer))
        lease = asyncio.create_task(self._keep_lease(job, buffer))
        self._running[job.id] = work, buffer
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            if lease.done():
                lease.result()
            if work.cancelled():  # by `cancel`: `step` is cancelled from outside only
                raise LeaseLost("the job was canceled")
            return work.result()
        finally:
            del self._running[job.id]
            work.cancel()
            lease.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)

    async def _work(self, job: Job, buffer: "_ProgressBuffer") -> ResultFile:
        """Makes the result and writes it, waiting for what the server lacks meanwhile."""
        result = self._files.new_result(job)
        try:
            made = await self._patiently(lambda: self._make(job, buffer), job, buffer)
            result = made
            await self._patiently(lambda: self._files.call(made.finish), job, buffer)
        except BaseException:
            with contextlib.suppress(OSError):
                result.drop()
            raise
        return result

    async def _patiently(
        self, work: Callable[[], Awaitable[Made]], job: Job, buffer: "_ProgressBuffer"
    ) -> Made:
        """Repeats work until no setback keeps it from its end; says in the progress what does."""
        for wait_s in setbacks.waits_s():
            try:
                made = await work()
            except Exception as error:
                reason = setbacks.reason_of(error)
                if reason is None:
                    raise
                logger.warning("job %s: waits %g s: %s", job.id, wait_s, reason)
                buffer.wait(reason)
                await asyncio.sleep(wait_s)
            else:
                buffer.go_on()
                return made
        raise AssertionError("the waits have no end")

    async def _make(self, job: Job, buffer: "_ProgressBuffer") -> ResultFile:
        if job.input_kind in CLIPS:
            return await self._predict(job, buffer)
        assert self._teach is not None  # else no job of the kind is claimed
        made = await self._teach(job, self._files.input_path(job.id), buffer.put)
        result = self._files.new_result(job)
        result.add(made)
        return result

    async def _predict(self, job: Job, buffer: "_ProgressBuffer") -> ResultFile:
        """Returns the response body, all but what is still in memory on disk."""
        options = PredictOptions.model_validate(job.request)
        started_s = time.perf_counter()
        path = self._files.input_path(job.id)
        source: Source = path
        if job.input_kind == "features":
            source = await self._files.call(
                read_features,
                path,
                self._engine.predictor.encoder,
                max_duration_s=self._settings.job_max_duration_s,
            )
        result, pieces = self._files.new_result(job), PredictionPieces(options, job.id)

        async def add_part(part: ClipResult) -> None:
            await self._files.call(lambda: result.add(pieces.part(part)))

        found = await self._engine.long_video.predict(
            source,
            options,
            timeout_s=options.timeout_s or self._settings.job_timeout_s,
            on_progress=buffer.put,
            on_part=add_part,
        )
        total_s = time.perf_counter() - started_s
        await self._files.call(lambda: result.add(pieces.end(found, total_s)))
        return result

    async def _keep_lease(self, job: Job, buffer: "_ProgressBuffer") -> None:
        """Renews the lease until it is lost, writing progress along with it.

        While the store is away no worker can take the job over; if one did because only this
        server was cut off, the next renewal says it.
        """
        lease_s = self._settings.job_lease_s
        renew_s = -math.inf
        while True:
            if buffer.latest is not None or time.monotonic() >= renew_s:
                latest, buffer.latest = buffer.latest, None
                try:
                    await self._store.call(
                        self._store.renew,
                        job,
                        now_s=time.time(),
                        lease_s=lease_s,
                        clock_s=time.monotonic(),
                        progress=latest,
                    )
                    renew_s = time.monotonic() + lease_s / 3
                except JobsUnavailable as error:
                    logger.warning("job %s: its lease is not renewed: %s", job.id, error)
                    buffer.latest = buffer.latest or latest
            await asyncio.sleep(min(POLL_S, lease_s / 3))

    async def _keep_result(self, job: Job, result: ResultFile) -> None:
        """Writes the record, after the file: a crash in between leaves an orphan file only."""

        def succeed() -> None:
            now_s = time.time()
            expires_s = now_s + self._settings.job_ttl_s
            try:
                self._store.succeed(job, result.name, now_s=now_s, expires_s=expires_s)
            except LeaseLost:
                stored = self._store.get(job.id)  # a try whose outcome was unknown may have made it
                if stored is None or stored.result != result.name:
                    raise

        if await self._persist(job, succeed):
            await self._clean_up(job)
            logger.info("job %s: succeeded", job.id)
        else:
            await self._files.call(result.drop)

    async def _settle_failure(self, job: Job, error: Exception) -> None:
        """Retries after an error of the server, which may pass; fails after one of the input."""
        is_ours = kind_of(error).status == 503
        if is_ours and job.attempt < self._settings.job_max_attempts:
            logger.info("job %s: put back: %s", job.id, error)
            await self._persist(job, lambda: self._store.requeue(job, counts=True))
            await asyncio.sleep(POLL_S * 2**job.attempt)
            return
        problem = problem_from(error, self._limits).body(job.id)
        body = problem.model_dump(mode="json", exclude_none=True)
        if await self._persist(job, lambda: self._store.fail(job, body, now_s=time.time())):
            await self._clean_up(job)
            logger.info("job %s: failed: %s", job.id, problem.code)

    async def _clean_up(self, job: Job) -> None:
        """After the end of a job is written."""
        try:
            await self._files.call(self._files.drop_input, job.id)
        except (OSError, JobsUnavailable) as error:
            logger.warning("job %s: its input stays until it is swept: %s", job.id, error)
        if job.started_s is not None:
            self._engine.telemetry.metrics.job_s.observe(max(0.0, time.time() - job.started_s))

    async def _put_back(self, job: Job) -> None:
        with contextlib.suppress(LeaseLost, JobsUnavailable):
            await self._store.call(self._store.requeue, job)
            logger.info("job %s: put back, as the server stops", job.id)

    async def _persist(self, job: Job, write: Callable[[], None]) -> bool:
        """Makes a job's last write, however long the store is away; returns whether it was made.

        It was not if the lease is lost. The waits are shorter than a lease, so that the write comes
        before any other server can think the job abandoned.
        """
        for wait_s in setbacks.waits_s(self._settings.job_lease_s / 3):
            try:
                await self._store.call(write)
                return True
            except LeaseLost:
                return False
            except JobsUnavailable as error:
                logger.warning("job %s: its end is not written yet: %s", job.id, error)
                await asyncio.sleep(wait_s)
        raise AssertionError("the waits have no end")


class _ProgressBuffer:
    """The latest progress of a job, until a lease renewal writes it to the store.

    Attributes:
        latest: to be written; None if it was.
        waiting: while the job waits, its progress with the reason.
    """

    def __init__(self) -> None:
        self._last = Progress("started")
        self.latest: dict[str, Any] | None = asdict(self._last)
        self.waiting: dict[str, Any] | None = None

    def put(self, progress: Progress) -> None:
        self._last, self.latest = progress, asdict(progress)

    def wait(self, reason: str) -> None:
        waiting = {**asdict(self._last), "stage": "waiting", "reason": reason}
        if waiting != self.waiting:
            self.latest = self.waiting = waiting

    def go_on(self) -> None:
        if self.waiting is not None:
            self.waiting = None
            self.put(self._last)
