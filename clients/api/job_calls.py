"""Calls about jobs: sent now, answered later, however often the connection drops meanwhile."""

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
"""A server that went away while it was listened to is given this long to come back."""

MAX_PAUSE_S = 10.0


class JobCalls(Session):
    """What can be asked about jobs, all by the id that `submit` gives."""

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
        """Sends a clip as a job, which may be much longer; returns at once.

        However often it has to be sent, one call makes one job.

        Args:
            clip: a file.
            features: in the clip's place, what `features` gave.
            progress: hears how many bytes of how many are sent.
            webhook_url: who is told of the end.
            idempotency_key: the same key and clip give the same job; default: a new key.
            choices: what to ask, as `clients.api.requests.Choices` lists it.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        outgoing = about_clip(
            "/v1/predictions",
            clip,
            features,
            {**choices, "webhook_url": webhook_url},
            progress=progress,
            headers={"Prefer": "respond-async", "Idempotency-Key": idempotency_key or new_key()},
        )
        return Job.from_dict(await self._json(outgoing))

    async def job(self, job_id: str) -> Job:
        """Returns how a job stands.

        Args:
            job_id: of the job.

        Raises:
            NotFound: there is none, or it was sent with another key.
        """
        return Job.from_dict(await self._json(ApiRequest("GET", _path(job_id))))

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
        """Yields all of the caller's jobs, the newest first, fetched a page at a time.

        Args:
            state: only jobs in this state.
            page_size: jobs fetched at once, up to 100.
        """
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
        """Yields what happens to a job until its end; each event once, whatever breaks meanwhile.

        Args:
            job_id: of the job.
            after: number of the last event that is known already.
            timeout_s: about the longest time to listen.

        Raises:
            TimedOut: it has not ended by then.
            Busy, Unreachable: the server was away for too long.
        """
        deadline, heard_s, pause_s = Deadline(timeout_s), time.monotonic(), 0.5
        is_over = False
        while True:
            known = after
            try:
                outgoing = ApiRequest("GET", f"{_path(job_id)}/events", headers=_since(after))
                async with aclosing(self._listen(outgoing, deadline)) as events:
                    async for event in events:
                        heard = _event(event)
                        heard_s, pause_s = time.monotonic(), 0.5
                        after = heard.id
                        yield heard
                        if heard.is_last:
                            return
                # The stream ended in order: the server is about to stop, or all was told before.
                if is_over and after == known:
                    return
                is_over = not (await self.job(job_id)).is_live
                heard_s = time.monotonic()
            except (Busy, Unreachable):
                deadline.check()
                if time.monotonic() - heard_s > OUTAGE_S:
                    raise
            await self._port.sleep(min(pause_s, max(0.0, deadline.left_s)))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job:
        """Returns a job once it has ended, well or not.

        Args:
            job_id: of the job.
            timeout_s: about the longest time to wait; default: for ever.
            on_progress: hears how far it has come.

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
        """Returns the answers of a job, or raises what it met, as if one had waited for it.

        Args:
            job_id: of the job.

        Raises:
            NotFinished: it was canceled or has not ended yet.
            ResultGone: its result was kept for as long as promised.
            ClientError: why it failed.
        """
        body = await self._json(ApiRequest("GET", f"{_path(job_id)}/result"))
        return PredictionResult.from_dict(body)

    async def cancel(self, job_id: str) -> Job:
        """Ends a job unless it has ended; returns it as it is then.

        Args:
            job_id: of the job.

        Raises:
            NotFound: there is none, or it was sent with another key.
        """
        return Job.from_dict(await self._json(ApiRequest("POST", f"{_path(job_id)}/cancel")))


def _path(job_id: str) -> str:
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
