"""Serialisation of jobs: records -> response bodies, and page cursors."""

import struct
from datetime import UTC, datetime

from server.jobs.records import Job
from server.jobs.store import Cursor
from server.schemas.jobs import Job as JobBody
from server.schemas.jobs import JobInput, JobLinks, JobProgress
from server.schemas.prediction import ProblemBody

CURSOR = "^[0-9a-f]{16}-[0-9a-f]{32}$"
"""Pattern of a cursor: the exact creation time and the id of a page's last job."""


def body_of(job: Job) -> JobBody:
    """Returns the response body of a job."""
    here = path_of(job.id)
    return JobBody(
        id=job.id,
        state=job.state,
        attempt=job.attempt,
        input=JobInput(
            kind=job.input_kind, size_bytes=int(job.input_bytes), sha256=job.input_sha256
        ),
        request=job.request,
        progress=None if job.progress is None else JobProgress.model_validate(job.progress),
        error=None if job.error is None else ProblemBody.model_validate(job.error),
        created_at=instant(job.created_s) or "",
        started_at=instant(job.started_s),
        finished_at=instant(job.finished_s),
        result_expires_at=instant(job.expires_s),
        links=JobLinks(
            self=here, events=f"{here}/events", result=f"{here}/result", cancel=f"{here}/cancel"
        ),
    )


def path_of(job_id: str) -> str:
    """Returns the URL path of a job."""
    return f"/v1/jobs/{job_id}"


def cursor_text(cursor: Cursor) -> str:
    """Returns a cursor as an opaque string."""
    created_s, job_id = cursor
    return f"{struct.pack('>d', created_s).hex()}-{job_id}"


def parse_cursor(text: str) -> Cursor:
    """Returns the cursor of a string that matches `CURSOR`."""
    created, _, job_id = text.partition("-")
    return struct.unpack(">d", bytes.fromhex(created))[0], job_id


def instant(seconds: float | None) -> str | None:
    """Returns seconds since 1970 as RFC 3339; None of None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
