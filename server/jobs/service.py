"""Jobs service: store, files, workers and webhook senders, started and stopped with the app."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import get_args

from server.engine.engine import Engine
from server.errors import JobsUnavailable, NotFound
from server.jobs.database import Database
from server.jobs.files import JobFiles
from server.jobs.idempotency import IdempotencyKeys
from server.jobs.news import read_news
from server.jobs.records import Job, State
from server.jobs.serialize import body_of
from server.jobs.ssrf_safe_client import SsrfSafeClient
from server.jobs.store import JobStore
from server.jobs.webhooks import WebhookOutbox, WebhookSender
from server.jobs.worker import POLL_S, JobWorker

_JOB_ID = re.compile("[0-9a-f]{32}")

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 30.0
COUNT_S = 5.0
"""Interval at which the job metrics are refreshed: a scrape must not wait for the store."""

REOPEN_S = 5.0
SENDERS = 4
"""Webhooks sent at once, so that a slow receiver does not delay the others."""

ORPHAN_S = 300.0
"""Added to the longest time of an upload: the age from which an unreferenced file is an orphan."""


class Jobs:
    """The store, the files, the workers, and the webhook senders; opened by `start`.

    Args:
        limits: every limit in force, for problem details.
        client: sends webhooks; default: as the settings describe.

    Attributes:
        settings: of the engine.
        store: holds the jobs.
        keys: holds idempotency keys.
        news: reads what is new about each of many jobs.
        files: holds inputs and results.
        client: sends webhooks; None without a webhook secret.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Mapping[str, float],
        *,
        client: SsrfSafeClient | None = None,
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
        self._worker = JobWorker(engine, self.store, self.files, limits)
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
        await asyncio.to_thread(self._database.close)

    def wake(self) -> None:
        """Wakes the workers after a job was accepted."""
        self._worker.wake()

    async def find(self, job_id: str, caller: str) -> Job:
        """Returns a caller's job.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        _require_id(job_id)
        return _found(await asyncio.to_thread(self.store.get, job_id, caller))

    async def cancel(self, job_id: str, caller: str) -> Job:
        """Cancels a caller's job unless it has ended; returns it.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        _require_id(job_id)
        cancel = self.store.cancel
        job = _found(await asyncio.to_thread(cancel, job_id, caller, now_s=time.time()))
        if job.state == "canceled":
            self._worker.cancel(job.id)
            self.files.drop_input(job.id)
        return job

    async def _open(self) -> bool:
        try:
            await asyncio.to_thread(self.files.create)
            await asyncio.to_thread(self._database.create)
        except (JobsUnavailable, OSError) as error:
            logger.error("no jobs can be accepted: %s", error, exc_info=error)
            return False
        return True

    async def _run(self, is_open: bool) -> None:
        while not is_open:
            await asyncio.sleep(REOPEN_S)
            is_open = await self._open()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.job_workers):
                group.create_task(_forever(self._worker.step, POLL_S))
            delete_expired = partial(asyncio.to_thread, self._delete_expired)
            group.create_task(_forever(delete_expired, HOUSEKEEPING_S))
            group.create_task(_forever(self._count, COUNT_S))
            if self._sender is not None:
                for _ in range(SENDERS):
                    group.create_task(_forever(self._sender.send_due, POLL_S))

    async def _count(self) -> None:
        counts = await asyncio.to_thread(self.store.counts)
        self._engine.telemetry.metrics.count_jobs(dict.fromkeys(get_args(State), 0) | counts)

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
