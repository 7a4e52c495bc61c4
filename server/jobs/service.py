"""Jobs: everything about them in one place, started and stopped with the app."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from server.engine.engine import Engine
from server.errors import JobsUnavailable, NotFound
from server.jobs.database import Database
from server.jobs.files import JobFiles
from server.jobs.idempotency import IdempotencyKeys
from server.jobs.records import Job
from server.jobs.serialize import body_of
from server.jobs.ssrf_safe_client import SsrfSafeClient
from server.jobs.store import JobStore
from server.jobs.webhooks import WebhookOutbox, WebhookSender
from server.jobs.worker import POLL_S, JobWorker
from server.settings.settings import Settings

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 30.0
COUNT_S = 5.0
"""How old the numbers of jobs in the metrics may be: a scrape must not wait for the store."""

REOPEN_S = 5.0
SENDERS = 4
"""Webhooks on their way at once, so that a slow receiver does not keep the others waiting."""

ORPHAN_S = 300.0
"""Added to the longest time that an upload may take, the age from which a file is an orphan."""


class Jobs:
    """The store, the files, the workers, and whoever tells of their ends.

    Attributes:
        store: holds the jobs.
        keys: holds idempotency keys.
        files: holds what was sent and what came out.
        client: sends webhooks; None when there are none.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Mapping[str, float],
        *,
        client: SsrfSafeClient | None = None,
    ) -> None:
        """Wires the parts; nothing is opened before `start`.

        Args:
            engine: answers.
            limits: every limit in force, for problems.
            client: sends webhooks; default: the one that the settings describe.
        """
        self._engine = engine
        self.settings = settings = engine.settings
        self._database = _database(settings)
        self.store = JobStore(self._database)
        self.keys = IdempotencyKeys(self._database)
        self.files = JobFiles(settings.state_dir)
        self.client: SsrfSafeClient | None = None
        self._announcer: WebhookSender | None = None
        if settings.webhook_secret is not None:
            self.client = client or _client(settings)
            self._announcer = WebhookSender(
                WebhookOutbox(self._database),
                self.client,
                settings.webhook_secret.get_secret_value(),
                find=self.store.get,
                describe=lambda job: body_of(job).model_dump(mode="json", exclude_none=True),
                timeout_s=settings.webhook_timeout_s,
                metrics=engine.telemetry.metrics,
            )
        self._runner = JobWorker(engine, self.store, self.files, limits)
        self._living: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server is not about to stop."""
        return self._engine.life.state != "draining"

    async def start(self) -> None:
        """Opens the store and takes up what was left.

        Without a store the server still answers those who wait; it goes on trying meanwhile.
        """
        is_open = await self._open()
        self._living = asyncio.create_task(self._live(is_open))

    async def stop(self) -> None:
        """Puts jobs under way back into the queue, and closes the store."""
        if self._living is not None:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)
        await asyncio.to_thread(self._database.close)

    def wake(self) -> None:
        """Tells the workers that a job has come in."""
        self._runner.wake()

    async def find(self, job_id: str, caller: str) -> Job:
        """Returns a caller's job.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        job = await asyncio.to_thread(self.store.get, job_id, caller)
        if job is None:
            raise NotFound("there is no such job, or it was forgotten")
        return job

    async def cancel(self, job_id: str, caller: str) -> Job:
        """Ends a job unless it has ended; returns it as it is now.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        cancel = self.store.cancel
        job = await asyncio.to_thread(cancel, job_id, caller, now_s=time.time())
        if job is None:
            raise NotFound("there is no such job, or it was forgotten")
        if job.state == "canceled":
            self._runner.cancel(job.id)
            self.files.drop_input(job.id)
        return job

    async def _open(self) -> bool:
        try:
            await asyncio.to_thread(self.files.create)
            await asyncio.to_thread(self._database.create)
        except (JobsUnavailable, OSError) as error:
            logger.error("no jobs can be taken: %s", error, exc_info=error)
            return False
        return True

    async def _live(self, is_open: bool) -> None:
        while not is_open:
            await asyncio.sleep(REOPEN_S)
            is_open = await self._open()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.job_workers):
                group.create_task(self._runner.run())
            group.create_task(_forever(self._keep_house, HOUSEKEEPING_S))
            group.create_task(_forever(self._count, COUNT_S))
            if self._announcer is not None:
                for _ in range(SENDERS):
                    group.create_task(_forever(self._announcer.send_due, POLL_S))

    async def _count(self) -> bool:
        counts = await asyncio.to_thread(self.store.counts)
        self._engine.telemetry.metrics.count_jobs(counts)
        return False

    async def _keep_house(self) -> bool:
        await asyncio.to_thread(self._tidy)
        return False

    def _tidy(self) -> None:
        """Lets go of what nobody needs any more."""
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


async def _forever(step: Callable[[], Awaitable[bool]], pause_s: float) -> None:
    """Repeats a step, at once as long as it says that there is more to do."""
    while True:
        has_more = False
        try:
            has_more = await step()
        except JobsUnavailable as error:
            logger.warning("jobs: %s", error)
        except Exception:  # one bad job must not end what all others rely on
            logger.exception("jobs: a step failed")
        if not has_more:
            await asyncio.sleep(pause_s)


def _database(settings: Settings) -> Database:
    if settings.job_database is None:
        return Database.in_folder(settings.state_dir)
    return Database(settings.job_database.get_secret_value())


def _client(settings: Settings) -> SsrfSafeClient:
    return SsrfSafeClient(
        timeout_s=settings.webhook_timeout_s,
        allow_http=settings.webhook_allow_http,
        allow_private=settings.webhook_allow_private,
    )
