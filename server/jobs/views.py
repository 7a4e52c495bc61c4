"""Records of jobs -> what callers see."""

import base64
import binascii
import json
from datetime import UTC, datetime

from server.errors import FieldInvalid
from server.job_schemas import Job as JobBody
from server.job_schemas import JobInput, JobLinks, JobProgress
from server.jobs.records import Job
from server.jobs.store import Cursor
from server.schemas import ProblemBody


def body_of(job: Job) -> JobBody:
    """Returns a job as JSON."""
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
        created_at=_instant(job.created_s) or "",
        started_at=_instant(job.started_s),
        finished_at=_instant(job.finished_s),
        result_expires_at=_instant(job.expires_s),
        links=JobLinks(
            self=here, events=f"{here}/events", result=f"{here}/result", cancel=f"{here}/cancel"
        ),
    )


def path_of(job_id: str) -> str:
    """Where a job is found."""
    return f"/v1/jobs/{job_id}"


def cursor_text(cursor: Cursor) -> str:
    """Returns a cursor as callers get it; it means nothing to them."""
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor:
    """Returns the cursor that a caller gave back.

    Raises:
        FieldInvalid: it is none of ours.
    """
    try:
        created_s, job_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise FieldInvalid(("/cursor", "give `next` of the page before, as it was")) from error
    if not (isinstance(created_s, float) and isinstance(job_id, str)):
        raise FieldInvalid(("/cursor", "give `next` of the page before, as it was"))
    return created_s, job_id


def _instant(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
