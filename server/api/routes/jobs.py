"""Job resources: submit, list, status, events, result, cancel."""

import asyncio
import contextlib
import os
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from server import problem_types as kinds
from server.api.events import sse as events
from server.api.events.feed import EventFeed, FeedResponse
from server.api.job_intake import Intake, caller_of
from server.api.negotiation import Preference, accepted
from server.api.openapi import JSON, problems
from server.api.uploads.receive import holder_of
from server.errors import JobNotFinished, JobsUnavailable, ResultExpired
from server.jobs.records import Job
from server.jobs.serialize import CURSOR, body_of, cursor_text, parse_cursor, path_of
from server.jobs.service import Jobs
from server.schemas import jobs as job_schemas
from server.schemas import prediction as schemas
from server.schemas.examples import JOB, JOB_EVENTS, PREDICTION
from server.schemas.options import PredictParameters
from server.schemas.problems import MEDIA_TYPE
from server.schemas.teaching import Report

router = APIRouter(tags=["jobs"])

WAIT_POLL_S = 0.1
FOR_JOBS = (kinds.NOT_FOUND, kinds.INVALID_FIELD, kinds.NO_JOBS)
MAX_PAGE = 100
MAX_EVENT_ID = 2**31 - 1


def jobs_of(request: Request) -> Jobs:
    """Returns the app's jobs."""
    jobs: Jobs = request.app.state.jobs
    return jobs


async def submit(request: Request, query: PredictParameters, preference: Preference) -> Response:
    """Accepts a prediction as a job; responds with its result if that is ready within `wait`."""
    intake: Intake = request.app.state.intake
    jobs = jobs_of(request)
    job = await intake.accept(request, query)
    until_s = time.monotonic() + (preference.wait_s or 0)
    applied = {"Preference-Applied": preference.applied, "Location": path_of(job.id)}
    with contextlib.suppress(JobsUnavailable):  # the job is accepted: its caller has to hear so
        while job.is_live and time.monotonic() < until_s:
            await asyncio.sleep(WAIT_POLL_S)
            job = await jobs.find(job.id, job.caller)
        if preference.wait_s is not None and job.state == "succeeded":
            return await _result(jobs, job, applied)
    return _answer(job, 202, applied)


@router.get(
    "/v1/jobs",
    operation_id="list_jobs",
    summary="List your jobs, newest first",
    response_model=job_schemas.JobPage,
    responses={
        200: {"content": {JSON: {"example": {"jobs": [JOB]}}}},
        **problems(kinds.INVALID_FIELD, kinds.NO_JOBS),
    },
)
async def list_jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
    state: job_schemas.JobState | None = None,
) -> Response:
    """Lists the jobs that were sent with the same API key, page by page."""
    jobs, caller = jobs_of(request), caller_of(request)
    after = None if cursor is None else parse_cursor(cursor)

    def page() -> str:  # jobs with many segments make a large one
        found = jobs.store.page(caller, limit=limit + 1, after=after, state=state)
        page, rest = found[:limit], found[limit:]
        last = (page[-1].created_s, page[-1].id) if rest else None
        body = job_schemas.JobPage(
            jobs=[body_of(job) for job in page], next=None if last is None else cursor_text(last)
        )
        return body.model_dump_json(exclude_none=True)

    return Response(await jobs.store.call(page), media_type=JSON)


@router.get(
    "/v1/jobs/{job_id}",
    operation_id="get_job",
    summary="Get a job's status",
    response_model=job_schemas.Job,
    responses={200: {"content": {JSON: {"example": JOB}}}, **problems(*FOR_JOBS)},
)
async def get_job(job_id: str, request: Request) -> Response:
    """Returns a job's state and progress, and the problem if it failed."""
    return _answer(await jobs_of(request).find(job_id, caller_of(request)))


@router.get(
    "/v1/jobs/{job_id}/events",
    operation_id="get_job_events",
    summary="Stream a job's events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`progress`, then `completed`, `error` or `canceled`.",
            "content": {events.MEDIA_TYPE: {"schema": {"type": "string"}, "example": JOB_EVENTS}},
        },
        **problems(*FOR_JOBS, kinds.NOT_ACCEPTABLE, kinds.QUEUE_FULL),
    },
)
async def get_job_events(
    job_id: str,
    request: Request,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_EVENT_ID)] = 0,
) -> Response:
    """Streams a job's events: those after `Last-Event-ID`, then new ones as they happen."""
    accepted(request, (events.MEDIA_TYPE,))
    feed: EventFeed = request.app.state.feed
    feed.check_room(reader := holder_of(request))  # before the store is asked
    job = await jobs_of(request).find(job_id, caller_of(request))
    return FeedResponse(feed, reader, job, after=last_event_id)


@router.get(
    "/v1/jobs/{job_id}/result",
    operation_id="get_job_result",
    summary="Get a job's result",
    response_model=schemas.Prediction | Report,
    responses={
        200: {"content": {JSON: {"example": PREDICTION}}},
        **problems(*FOR_JOBS, kinds.LABELS_INVALID, kinds.NOT_FINISHED, kinds.RESULT_EXPIRED),
    },
)
async def get_job_result(job_id: str, request: Request) -> Response:
    """Returns the predictions, as `/v1/predictions` does, or the problem of a failed job.

    Of a job that taught a skill it is the report of the version that it made.
    """
    jobs = jobs_of(request)
    return await _result(jobs, await jobs.find(job_id, caller_of(request)), {})


@router.post(
    "/v1/jobs/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    status_code=202,
    response_model=job_schemas.Job,
    responses={202: {"content": {JSON: {"example": JOB}}}, **problems(*FOR_JOBS)},
)
async def cancel_job(job_id: str, request: Request) -> Response:
    """Cancels a job that is queued or running; any other stays as it is."""
    return _answer(await jobs_of(request).cancel(job_id, caller_of(request)), 202)


def _answer(job: Job, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = body_of(job).model_dump_json(exclude_none=True)
    return Response(body, status, headers, media_type=JSON)


async def _result(jobs: Jobs, job: Job, headers: dict[str, str]) -> Response:
    """Returns the predictions of a job, or the problem that it failed with."""
    if job.state == "expired":
        raise ResultExpired("the result was kept for as long as promised; send the clip again")
    if job.error is not None:
        problem = schemas.ProblemBody.model_validate(job.error)
        text = problem.model_dump_json(exclude_none=True)
        return Response(text, problem.status, headers, media_type=MEDIA_TYPE)
    if job.result is None:
        raise JobNotFinished(f"the job is {job.state}")
    try:
        file = await jobs.files.call(jobs.files.open_result, job.result)
    except FileNotFoundError as error:  # it expired in the meantime
        raise ResultExpired("the result was kept for as long as promised") from error
    length = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
    return StreamingResponse(jobs.files.chunks(file), 200, headers | length, media_type=JSON)
