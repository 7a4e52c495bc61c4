"""Jobs service: store, files, workers and webhook senders, started and stopped with the app."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from server.engine.engine import Engine
from server.errors import JobsUnavailable, NotFound, OutcomeUnknown
from server.jobs.database import Database
from server.jobs.files import JobFiles
from server.jobs.idempotency import IdempotencyKeys
from server.jobs.news import read_news
from server.jobs.records import Job, NewJob, State
from server.jobs.serialize import body_of
from server.jobs.ssrf_safe_client import SsrfSafeClient
from server.jobs.store import JobStore
from server.jobs.webhooks import WebhookOutbox, WebhookSender
from server.jobs.worker import LABELS, POLL_S, JobWorker, Teach

_JOB_ID = re.compile("[0-9a-f]{32}")

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 30.0
COUNT_S = 5.0
"""Interval at which store and files are probed, and the job metrics refreshed: neither a readiness
check nor a scrape may wait for the store."""

REOPEN_S = 5.0

ORPHAN_S = 300.0
"""Added to the longest time of an upload: the age from which an unreferenced file is an orphan."""


class Jobs:
    """The store, the files, the workers, and the webhook senders; opened by `start`.

    Args:
        limits: every limit in force, for problem details.
        client: sends webhooks; default: as the settings describe.
        teach: for jobs that teach a skill; None leaves them to other servers.

    Attributes:
        settings: of the engine.
        store: holds the jobs.
        keys: holds idempotency keys.
        news: reads what is new about each of many jobs.
        files: holds inputs and results.
        client: sends webhooks; None without a webhook secret.
        checks: state of `store` and `files` at the last probe, each "ok" or what is wrong, in words
            that may be shown to any caller.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Mapping[str, float],
        *,
        client: SsrfSafeClient | None = None,
        teach: Teach | None = None,
    ) -> None:
        self._engine = engine
        self.settings = settings = engine.settings
        database = settings.job_database
        self._database = (
            Database.in_folder(settings.state_dir)
            if database is None
            else Database(database.get_secret_value())
        )
        self.store = JobStore(self._database)
        self.keys = IdempotencyKeys(self._database)
        self.news = partial(read_news, self._database)
        self.files = JobFiles(settings.state_dir)
        self.checks = {"store": "not opened yet", "files": "not opened yet"}
        self.client: SsrfSafeClient | None = None
        self._sender: WebhookSender | None = None
        if settings.webhook_secret is not None:
            self.client = client or SsrfSafeClient(
                timeout_s=settings.webhook_timeout_s,
                allow_http=settings.webhook_allow_http,
                allow_private=settings.webhook_allow_private,
            )
            self._sender = WebhookSender(
                WebhookOutbox(self._database),
                self.client,
                settings.webhook_secret.get_secret_value(),
                find=self.store.get,
                describe=lambda job: body_of(job).model_dump(mode="json", exclude_none=True),
                timeout_s=settings.webhook_timeout_s,
                metrics=engine.telemetry.metrics,
            )
        self._worker = JobWorker(engine, self.store, self.files, limits, teach)
        self._teaches = teach is not None
        self._running: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server is not draining."""
        return self._engine.life.state != "draining"

    async def start(self) -> None:
        """Opens the store and resumes unfinished jobs.

        While the store cannot be opened, only synchronous requests are answered; opening is
        retried in the background.
        """
        is_open = await self._open()
        self._running = asyncio.create_task(self._run(is_open))

    async def stop(self) -> None:
        """Puts running jobs back into the queue, and closes the store."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._sender is not None:
            await self._sender.stop()
        self._database.close()
        self.files.close()

    async def find(self, job_id: str, caller: str) -> Job:
        """Returns a caller's job.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        _require_id(job_id)
        job = _found(await self.store.call(self.store.get, job_id, caller))
        waiting = self._worker.waiting(job_id) if job.state == "running" else None
        return job if waiting is None else replace(job, progress=waiting)

    async def accept(
        self, new: NewJob, received: Path, *, key: str | None, body_sha256: str
    ) -> Job:
        """Makes a received body the input of a new job; returns the job.

        The file is put in its place before the record is written, so that a kill at any moment
        leaves either a job or nothing.

        Raises:
            JobsUnavailable: the store does not answer. If the job was stored all the same, it runs:
                it is unknown then.
        """

        def accept() -> Job:
            self.files.adopt(received, new.id)
            try:
                return self.store.add(new, now_s=time.time(), key=key, body_sha256=body_sha256)
            except OutcomeUnknown:
                raise  # the input of no job is swept later
            except BaseException:
                self.files.drop_input(new.id)
                raise

        job = await self.store.call(accept)
        self._worker.wake()
        return job

    async def cancel(self, job_id: str, caller: str) -> Job:
        """Cancels a caller's job unless it has ended; returns it.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        _require_id(job_id)
        cancel = self.store.cancel
        job = _found(await self.store.call(cancel, job_id, caller, now_s=time.time()))
        if job.state == "canceled":
            self._worker.cancel(job.id)
            try:
                await self.files.call(self.files.drop_input, job.id)
            except (OSError, JobsUnavailable) as error:
                logger.warning("job %s: its input stays until it is swept: %s", job.id, error)
        return job

    async def _open(self) -> bool:
        try:
            await self.files.call(self.files.create)
            await self.store.call(self._database.create)
        except (JobsUnavailable, OSError) as error:
            logger.error("no jobs can be accepted: %s", error, exc_info=error)
            self.checks = dict.fromkeys(self.checks, "cannot be opened")
            return False
        await self._probe()
        return True

    async def _run(self, is_open: bool) -> None:
        while not is_open:
            await asyncio.sleep(REOPEN_S)
            is_open = await self._open()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.job_workers):
                group.create_task(_forever(self._worker.step, POLL_S))
            if self._teaches and self.settings.job_workers:
                # A skill takes seconds: it does not wait for hours of video.
                teach = partial(self._worker.step, LABELS)
                group.create_task(_forever(teach, POLL_S))
            group.create_task(_forever(self._keep_house, HOUSEKEEPING_S))
            group.create_task(_forever(self._count, COUNT_S))
            if self._sender is not None:
                group.create_task(_forever(self._sender.start_due, POLL_S))

    async def _count(self) -> None:
        await self._probe()
        counts = await self.store.call(self.store.counts)
        self._engine.telemetry.metrics.count_jobs(dict.fromkeys(get_args(State), 0) | counts)

    async def _probe(self) -> None:
        """Goes a job's way: a row in the store, a file in the folder."""
        store = self.store.call(self._database.probe, now_s=time.time())
        files = self.files.call(self.files.probe)
        found = await asyncio.gather(store, files, return_exceptions=True)
        before, states = self.checks, [_state(one) for one in found]
        self.checks = dict(zip(("store", "files"), states, strict=True))
        for name, state in self.checks.items():
            if state != before[name]:
                logger.warning("jobs: %s: %s", name, state)

    async def _keep_house(self) -> None:
        await self.store.call(self._delete_expired)

    def _delete_expired(self) -> None:
        now_s = time.time()
        for job in self.store.expire(now_s=now_s):
            self.files.drop_result(job.result or "")
        self.store.purge(ended_before_s=now_s - self.settings.job_record_s)
        self.keys.purge(now_s=now_s)
        inputs, results = self.store.referenced_files()
        swept = self.files.sweep(
            live_inputs=inputs,
            results=results,
            min_age_s=self.settings.job_upload_timeout_s + ORPHAN_S,
        )
        if swept:
            logger.info("removed %d files that killed servers had left", swept)


def _require_id(job_id: str) -> None:
    """No other text reaches the database: PostgreSQL takes no NUL."""
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound("there is no such job: an id has 32 hexadecimal digits")


def _state(found: object) -> str:
    """The outcome of a probe, without the paths in an error's message."""
    if not isinstance(found, BaseException):
        return "ok"
    return str(found) if isinstance(found, JobsUnavailable) else "cannot be written"


def _found(job: Job | None) -> Job:
    if job is None:
        raise NotFound("there is no such job, or it was deleted")
    return job


async def _forever(step: Callable[[], Awaitable[bool | None]], pause_s: float) -> None:
    """Repeats a step, without a pause while it returns True."""
    while True:
        has_more: bool | None = False
        try:
            has_more = await step()
        except JobsUnavailable as error:
            logger.warning("jobs: %s", error)
        except Exception:  # an error about one job must not end this loop
            logger.exception("jobs: a step failed")
        if not has_more:
            await asyncio.sleep(pause_s)
