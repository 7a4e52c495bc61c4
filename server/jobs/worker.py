"""Job worker: claims jobs from the store, runs them through the engine, keeps the results.

An interrupted job starts again from the beginning of its video: on this server after a restart, or
on another once the lease has expired. Its result is written once all the same.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from server.engine import responses
from server.engine.engine import Engine
from server.engine.request import Progress, Source
from server.engine.uploaded_features import read_features
from server.errors import JobsUnavailable, kind_of
from server.jobs.files import JobFiles
from server.jobs.records import Job
from server.jobs.store import JobStore, LeaseLost
from server.schemas.options import PredictOptions
from server.schemas.problems import problem_from

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Interval at which the store is polled for jobs that other servers accepted or canceled."""


class JobWorker:
    """Processes jobs, one in each concurrent `step`; `limits` are all in force, for problems."""

    def __init__(
        self, engine: Engine, store: JobStore, files: JobFiles, limits: Mapping[str, float]
    ) -> None:
        self._engine, self._store, self._files = engine, store, files
        self._settings = engine.settings
        self._limits = limits
        self._arrived = asyncio.Event()
        self._running: dict[str, asyncio.Task[bytes]] = {}

    def wake(self) -> None:
        """Wakes idle workers after a job was accepted."""
        self._arrived.set()

    def cancel(self, job_id: str) -> None:
        """Stops the work on a canceled job, if it runs in this process."""
        if job_id in self._running:
            self._running[job_id].cancel()

    async def step(self) -> bool:
        """Processes the next job, or waits for one; returns True, as another may follow at once.

        When cancelled, it puts its job back into the queue.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        job = None
        lease_s = self._settings.job_lease_s
        if self._engine.life.state == "ready":
            job = await asyncio.to_thread(self._store.claim, now_s=time.time(), lease_s=lease_s)
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
            body = await self._predict_while_leased(job)
        except LeaseLost:
            logger.info("job %s: canceled, or claimed by another worker", job.id)
        except asyncio.CancelledError:
            await asyncio.shield(self._put_back(job))
            raise
        except Exception as error:  # the outermost edge of a job: any error ends it
            await self._settle_failure(job, error)
        else:
            await self._keep_result(job, body)

    async def _predict_while_leased(self, job: Job) -> bytes:
        """Returns the prediction; stops as soon as the lease is lost."""
        if job.attempt > self._settings.job_max_attempts:
            raise RuntimeError(f"the server crashed {job.attempt - 1} times on this job")
        buffer = _ProgressBuffer()
        work = asyncio.create_task(self._predict(job, buffer))
        lease = asyncio.create_task(self._keep_lease(job, buffer))
        self._running[job.id] = work
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

    async def _predict(self, job: Job, buffer: "_ProgressBuffer") -> bytes:
        """Returns the response body."""
        options = PredictOptions.model_validate(job.request)
        started_s = time.perf_counter()
        path = self._files.input_path(job.id)
        source: Source = path
        if job.input_kind == "features":
            source = await asyncio.to_thread(
                read_features,
                path,
                self._engine.predictor.encoder,
                max_duration_s=self._settings.job_max_duration_s,
            )
        result = await self._engine.long_video.predict(
            source,
            options,
            timeout_s=options.timeout_s or self._settings.job_timeout_s,
            on_progress=buffer.put,
        )
        total_s = time.perf_counter() - started_s
        body = responses.prediction(result, options, answer_id=job.id, total_s=total_s)
        return body.model_dump_json(exclude_none=True).encode()

    async def _keep_lease(self, job: Job, buffer: "_ProgressBuffer") -> None:
        """Renews the lease until it is lost, writing progress along with it."""
        lease_s = self._settings.job_lease_s
        expires_s = time.time() + lease_s
        renew_s = -math.inf
        while True:
            if buffer.latest is not None or time.monotonic() >= renew_s:
                latest, buffer.latest = buffer.latest, None
                now_s = time.time()
                try:
                    await asyncio.to_thread(
                        self._store.renew, job, now_s=now_s, lease_s=lease_s, progress=latest
                    )
                    expires_s = time.time() + lease_s
                    renew_s = time.monotonic() + lease_s / 3
                except JobsUnavailable:
                    if time.time() >= expires_s:
                        raise LeaseLost("the store did not answer for too long") from None
            await asyncio.sleep(min(POLL_S, lease_s / 3))

    async def _keep_result(self, job: Job, body: bytes) -> None:
        """Writes the file, then the record: a crash in between leaves an orphan file only."""
        name = await asyncio.to_thread(self._files.write_result, job, body)

        def succeed() -> None:
            now_s = time.time()
            expires_s = now_s + self._settings.job_ttl_s
            self._store.succeed(job, name, now_s=now_s, expires_s=expires_s)

        if await self._persist(succeed):
            self._clean_up(job)
            logger.info("job %s: succeeded", job.id)
        else:
            self._files.drop_result(name)

    async def _settle_failure(self, job: Job, error: Exception) -> None:
        """Retries after an error of the server, which may pass; fails after one of the input."""
        if kind_of(error).status == 503 and job.attempt < self._settings.job_max_attempts:
            logger.info("job %s: put back: %s", job.id, error)
            await self._persist(lambda: self._store.requeue(job, counts=True))
            await asyncio.sleep(POLL_S)
            return
        problem = problem_from(error, self._limits).body(job.id)
        body = problem.model_dump(mode="json", exclude_none=True)
        if await self._persist(lambda: self._store.fail(job, body, now_s=time.time())):
            self._clean_up(job)
            logger.info("job %s: failed: %s", job.id, problem.code)

    def _clean_up(self, job: Job) -> None:
        """After the end of a job is written."""
        self._files.drop_input(job.id)
        if job.started_s is not None:
            self._engine.telemetry.metrics.job_s.observe(max(0.0, time.time() - job.started_s))

    async def _put_back(self, job: Job) -> None:
        with contextlib.suppress(LeaseLost, JobsUnavailable):
            await asyncio.to_thread(self._store.requeue, job)
            logger.info("job %s: put back, as the server stops", job.id)

    async def _persist(self, write: Callable[[], None]) -> bool:
        """Makes a job's last write, with retries; returns whether the lease was still held."""
        until_s = time.monotonic() + self._settings.job_lease_s
        while True:
            try:
                await asyncio.to_thread(write)
                return True
            except LeaseLost:
                return False
            except JobsUnavailable:
                if time.monotonic() >= until_s:
                    return False
                await asyncio.sleep(POLL_S)


class _ProgressBuffer:
    """The latest progress of a job, until a lease renewal writes it to the store."""

    def __init__(self) -> None:
        self.latest: dict[str, Any] | None = asdict(Progress("started"))

    def put(self, progress: Progress) -> None:
        self.latest = asdict(progress)
