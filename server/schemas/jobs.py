"""What is said of jobs, as JSON."""

from typing import Any, Literal

from server.schemas.prediction import Body, ProblemBody

JobState = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]


class JobInput(Body):
    """What was sent with a job."""

    kind: Literal["video", "features"]
    size_bytes: int
    sha256: str


class JobProgress(Body):
    """How far a job has come; the data of its `progress` events."""

    stage: Literal["queued", "started", "features", "reasoning"]
    windows_done: int = 0
    windows_total: int = 0
    """0 until it is known."""


class JobLinks(Body):
    """Where to go from here."""

    self: str
    events: str
    result: str
    cancel: str


class Job(Body):
    """A job as it stands. Times are RFC 3339."""

    id: str
    state: JobState
    attempt: int
    """How often it was begun; more than once if a server was killed."""
    input: JobInput
    request: dict[str, Any]
    """The choices it was sent with."""
    progress: JobProgress | None = None
    error: ProblemBody | None = None
    """Why it failed."""
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    result_expires_at: str | None = None
    """When the result goes, or went."""
    links: JobLinks


class JobPage(Body):
    """Jobs, the newest first."""

    jobs: list[Job]
    next: str | None = None
    """Cursor of the next page; absent on the last one."""
