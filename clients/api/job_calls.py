"""Job endpoints: submit, list, events (resumed after a broken connection), wait, result, cancel."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Unpack
from urllib.parse import quote

from clients.api.requests import (
    EVENT_STREAM,
    ApiRequest,
    Choices,
    Clip,
    Features,
    UploadProgress,
    about_clip,
    new_key,
    without_none,
)
from clients.api.session import Deadline, Session, data_of
from clients.api.sse import ServerEvent
from clients.errors import Busy, ServerFault, Unreachable
from clients.results.jobs import Job, JobEvent, JobPage, Problem
from clients.results.predictions import PredictionResult, Progress

OUTAGE_S = 300.0
"""Longest outage of the server, in seconds, before listening to a job's events fails."""

MAX_PAUSE_S = 10.0


class JobCalls(Session):
    """Calls about jobs, by the id that `submit` returns; one of another API key is NotFound."""

    async def submit(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        **choices: Unpack[Choices],
    ) -> Job:
        """Sends a clip, which may be much longer, as a job; returns at once.

        The server calls `webhook_url` at the job's end. The same `idempotency_key` and clip give
        the same job; the default is a new key, so one call makes one job, whatever the retries.
        Other arguments and errors are those of `predict`.
        """
        request = about_clip(
            "/v1/predictions",
            clip,
            features,
            {**choices, "webhook_url": webhook_url},
            progress=progress,
            headers={"Prefer": "respond-async", "Idempotency-Key": idempotency_key or new_key()},
        )
        return Job.from_dict(await self._json(request))

    async def job(self, job_id: str) -> Job:
        """Returns a job with its state and progress."""
        return Job.from_dict(await self._json(ApiRequest("GET", job_path(job_id))))

    async def job_page(
        self, *, limit: int = 20, cursor: str | None = None, state: str | None = None
    ) -> JobPage:
        """Returns some of the caller's jobs, the newest first.

        Args:
            limit: most jobs on the page, up to 100.
            cursor: `next` of the page before.
            state: only jobs in this state.
        """
        params = without_none({"limit": limit, "cursor": cursor, "state": state})
        return JobPage.from_dict(await self._json(ApiRequest("GET", "/v1/jobs", params=params)))

    async def jobs(
        self, *, state: str | None = None, page_size: int = 100
    ) -> AsyncGenerator[Job, None]:
        """Yields all of the caller's jobs, the newest first, by pages of up to 100."""
        cursor = None
        while True:
            page = await self.job_page(limit=page_size, cursor=cursor, state=state)
            for job in page.jobs:
                yield job
            if page.next is None:
                return
            cursor = page.next

    async def job_events(
        self, job_id: str, *, after: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[JobEvent, None]:
        """Yields a job's events until its end, each once, however often the connection breaks.

        Args:
            job_id: of the job.
            after: number of the last event that was received already.
            timeout_s: about the longest time to listen.

        Raises:
            TimedOut: it has not ended by then.
            Busy, Unreachable: the server was away for too long.
        """
        deadline, last_s, pause_s = Deadline(timeout_s), time.monotonic(), 0.5
        is_over = False
        while True:
            known = after
            try:
                request = ApiRequest("GET", f"{job_path(job_id)}/events", headers=_since(after))
                async with aclosing(self._listen(request, deadline)) as events:
                    async for event in events:
                        received = _event(event)
                        last_s, pause_s = time.monotonic(), 0.5
                        after = received.id
                        yield received
                        if received.is_last:
                            return
                # A clean end of the stream: the server is stopping, or every event came before.
                if is_over and after == known:
                    return
                is_over = not (await self.job(job_id)).is_live
                last_s = time.monotonic()
            except (Busy, Unreachable):
                deadline.check()
                if time.monotonic() - last_s > OUTAGE_S:
                    raise
            await self._transport.sleep(min(pause_s, max(0.0, deadline.left_s)))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job:
        """Returns a job once it has ended, in whatever state.

        Args:
            job_id: of the job.
            timeout_s: about the longest time to wait; default: no limit.
            on_progress: called at every progress event.

        Raises:
            TimedOut: it has not ended by then; it goes on.
            ClientError: as `job` does.
        """
        job = await self.job(job_id)
        if not job.is_live:
            return job
        async with aclosing(self.job_events(job_id, timeout_s=timeout_s)) as events:
            async for event in events:
                if event.progress is not None and on_progress is not None:
                    on_progress(event.progress)
        return await self.job(job_id)

    async def result(self, job_id: str) -> PredictionResult:
        """Returns the answers of a job.

        Raises:
            NotFinished: it was canceled or has not ended yet.
            ResultGone: its result has expired.
            ClientError: it failed; as `predict` would.
        """
        body = await self._json(ApiRequest("GET", f"{job_path(job_id)}/result"))
        return PredictionResult.from_dict(body)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job unless it has ended; returns it as it is then."""
        return Job.from_dict(await self._json(ApiRequest("POST", f"{job_path(job_id)}/cancel")))


def job_path(job_id: str) -> str:
    """Returns the path of a job."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _since(after: int) -> dict[str, str]:
    return {"Accept": EVENT_STREAM, "Last-Event-ID": str(after)}


def _event(event: ServerEvent) -> JobEvent:
    data = data_of(event)
    if not event.id.isdecimal():
        raise ServerFault(f"the event `{event.name}` has no number")
    return JobEvent(
        int(event.id),
        event.name,
        progress=Progress.from_dict(data) if event.name == "progress" else None,
        error=Problem.from_dict(data) if event.name == "error" else None,
    )
