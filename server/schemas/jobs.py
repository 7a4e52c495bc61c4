"""Response bodies of jobs."""

from typing import Any, Literal

from server.schemas.prediction import Body, ProblemBody

JobState = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]


class JobInput(Body):
    """The upload of a job."""

    kind: Literal["video", "features", "labels"]
    """`labels`: of a job that teaches a skill."""
    size_bytes: int
    sha256: str


class JobProgress(Body):
    """Progress of a job: the data of its `progress` events."""

    stage: Literal[
        "queued", "started", "features", "reasoning", "learning", "activating", "waiting"
    ]
    """`waiting`: something outside the job keeps it from going on; it goes on by itself after that.
    """
    windows_done: int = 0
    windows_total: int = 0
    """0 until the video's length is known."""
    reason: str | None = None
    """Why it is waiting."""


class JobLinks(Body):
    """Paths of a job's other resources."""

    self: str
    events: str
    result: str
    cancel: str


class Job(Body):
    """A job. Times are RFC 3339."""

    id: str
    state: JobState
    attempt: int
    """Number of attempts; above 1 if a server was killed. Waiting costs none."""
    input: JobInput
    request: dict[str, Any]
    """The options it was sent with."""
    progress: JobProgress | None = None
    error: ProblemBody | None = None
    """Why it failed."""
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    result_expires_at: str | None = None
    """When the result is or was deleted."""
    links: JobLinks


class JobPage(Body):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next: str | None = None
    """Cursor of the next page; absent on the last one."""
