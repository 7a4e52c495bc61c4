"""JobRunner: takes jobs from the store, has the engine answer them, keeps what comes out.

A job that is interrupted is begun again from the start of its video: by this server after a
restart, or by another one once the lease has ended. Its result is written once all the same.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from server.engine import responses as answers
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
"""How often other servers' doings are looked at."""

T = TypeVar("T")


class JobWorker:
    """A few workers, each with one job at a time."""

    def __init__(
        self, engine: Engine, store: JobStore, files: JobFiles, limits: Mapping[str, float]
    ) -> None:
        """Wires the parts.

        Args:
            engine: answers.
            store: holds the jobs.
            files: holds what was sent and what came out.
            limits: every limit in force, for problems.
        """
        self._engine, self._store, self._files = engine, store, files
        self._settings = engine.settings
        self._limits = limits
        self._arrived = asyncio.Event()
        self._working: dict[str, asyncio.Task[bytes]] = {}

    def wake(self) -> None:
        """Tells idle workers that a job has come in."""
        self._arrived.set()

    def cancel(self, job_id: str) -> None:
        """Stops working on a job that was canceled, if it is here."""
        if job_id in self._working:
            self._working[job_id].cancel()

    async def run(self) -> None:
        """Works until cancelled; a job under way then goes back into the queue."""
        while True:
            try:
                job = await self._next()
                if job is None:
                    await self._idle()
                else:
                    await self._work_on(job)
            except JobsUnavailable as error:
                logger.warning("jobs: %s", error)
                await asyncio.sleep(POLL_S)
            except Exception:  # one bad job must not end what all others rely on
                logger.exception("jobs: a worker stumbled")
                await asyncio.sleep(POLL_S)

    async def _next(self) -> Job | None:
        if self._engine.life.state != "ready":
            return None
        lease_s = self._settings.job_lease_s
        return await asyncio.to_thread(self._store.claim, now_s=time.time(), lease_s=lease_s)

    async def _idle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._arrived.wait()
        self._arrived.clear()

    async def _work_on(self, job: Job) -> None:
        """Brings a claimed job to an end, unless somebody else has taken it over."""
        logger.info("job %s: begun, attempt %d", job.id, job.attempt)
        try:
            body = await self._while_ours(job)
        except LeaseLost:
            logger.info("job %s: canceled, or taken over", job.id)
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back(job))
            raise
        except Exception as error:  # the outermost edge of a job: whatever it is, it is its end
            await self._settle_failure(job, error)
        else:
            await self._keep_result(job, body)

    async def _while_ours(self, job: Job) -> bytes:
        """Returns the answer; gives up as soon as the lease is lost."""
        if job.attempt > self._settings.job_max_attempts:
            raise RuntimeError(f"the server died {job.attempt - 1} times over this job")
        news = _ProgressBuffer()
        work = asyncio.create_task(self._answer(job, news))
        lease = asyncio.create_task(self._hold(job, news))
        self._working[job.id] = work
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            if lease.done():
                lease.result()
            if work.cancelled():  # by `cancel`, for `run` is only cancelled from outside
                raise LeaseLost("the job was canceled")
            return work.result()
        finally:
            del self._working[job.id]
            work.cancel()
            lease.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)

    async def _answer(self, job: Job, news: "_ProgressBuffer") -> bytes:
        """Returns the answer as callers get it."""
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
        outcome = await self._engine.long_road.predict(
            source,
            options,
            timeout_s=options.timeout_s or self._settings.job_timeout_s,
            tell=news.tell,
        )
        answer = answers.prediction(
            outcome,
            options,
            outcome.predictor,
            answer_id=job.id,
            total_s=time.perf_counter() - started_s,
        )
        return answer.model_dump_json(exclude_none=True).encode()

    async def _hold(self, job: Job, news: "_ProgressBuffer") -> None:
        """Renews the lease until it is lost, with what news there are."""
        lease_s = self._settings.job_lease_s
        expires_s = time.time() + lease_s
        renew_s = -math.inf
        while True:
            if news.is_new or time.monotonic() >= renew_s:
                try:
                    await self._renew(job, news)
                    expires_s = time.time() + lease_s
                    renew_s = time.monotonic() + lease_s / 3
                except JobsUnavailable:
                    if time.time() >= expires_s:
                        raise LeaseLost("the store did not answer for too long") from None
            await asyncio.sleep(min(POLL_S, lease_s / 3))

    async def _renew(self, job: Job, news: "_ProgressBuffer") -> None:
        lease_s, latest = self._settings.job_lease_s, news.take()
        await asyncio.to_thread(
            self._store.renew, job, now_s=time.time(), lease_s=lease_s, progress=latest
        )

    async def _keep_result(self, job: Job, body: bytes) -> None:
        """Writes the result, then says so; in between, a kill leaves an orphan file and no lie."""
        name = await asyncio.to_thread(self._files.write_result, job, body)

        def succeed() -> None:
            now_s = time.time()
            expires_s = now_s + self._settings.job_ttl_s
            self._store.succeed(job, name, now_s=now_s, expires_s=expires_s)

        if await self._persist(job, succeed):
            self._leave(job)
            logger.info("job %s: succeeded", job.id)
        else:
            self._files.drop_result(name)

    async def _settle_failure(self, job: Job, error: Exception) -> None:
        """What is the server's trouble may pass; what is the video's will not."""
        if kind_of(error).status == 503 and job.attempt < self._settings.job_max_attempts:
            logger.info("job %s: put back: %s", job.id, error)
            await self._persist(job, lambda: self._store.requeue(job, counts=True))
            await asyncio.sleep(POLL_S)
            return
        problem = problem_from(error, self._limits).body(job.id)
        told = problem.model_dump(mode="json", exclude_none=True)
        if await self._persist(job, lambda: self._store.fail(job, told, now_s=time.time())):
            self._leave(job)
            logger.info("job %s: failed: %s", job.id, problem.code)

    def _leave(self, job: Job) -> None:
        """What is left to do once the end of a job is written."""
        self._files.drop_input(job.id)
        if job.started_s is not None:
            self._engine.telemetry.metrics.job_s.observe(max(0.0, time.time() - job.started_s))

    async def _hand_back(self, job: Job) -> None:
        with contextlib.suppress(LeaseLost, JobsUnavailable):
            await asyncio.to_thread(self._store.requeue, job)
            logger.info("job %s: put back, as the server stops", job.id)

    async def _persist(self, job: Job, write: Callable[[], None]) -> bool:
        """Makes a last write, patiently; returns whether the job was still ours."""
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
    """The latest progress of a job, told in between others' writes to the store."""

    def __init__(self) -> None:
        self._latest: dict[str, Any] = {"stage": "started", "windows_done": 0, "windows_total": 0}
        self.is_new = True

    def tell(self, progress: Progress) -> None:
        self._latest = {
            "stage": progress.stage,
            "windows_done": progress.done,
            "windows_total": progress.total,
        }
        self.is_new = True

    def take(self) -> dict[str, Any] | None:
        """What is to be told, once."""
        is_new, self.is_new = self.is_new, False
        return self._latest if is_new else None
