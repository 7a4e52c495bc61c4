"""Jobs, their problems and their events."""

from dataclasses import dataclass, field
from typing import Any

from clients.results.parsing import Parsed
from clients.results.predictions import Progress

LIVE = frozenset({"queued", "running"})
"""States of a job that has not ended."""


class Problem(Parsed):
    """A problem (RFC 9457); `code` is the stable slug."""

    code: str
    status: int
    title: str = ""
    detail: str = ""
    request_id: str = ""
    retryable: bool = False
    limits: dict[str, float] = field(default_factory=dict)


class JobInput(Parsed):
    """What was sent with a job."""

    kind: str
    size_bytes: int
    sha256: str


class Job(Parsed):
    """A job; times are RFC 3339.

    Attributes:
        state: queued, running, succeeded, failed, canceled or expired.
        attempt: number of starts; more than one if a server was killed.
        request: its request options.
        created_at: when it was accepted.
        started_at: when it was last started.
        result_expires_at: when its result is deleted.
    """

    id: str
    state: str
    attempt: int
    input: JobInput
    request: dict[str, Any]
    created_at: str
    progress: Progress | None = None
    error: Problem | None = None
    started_at: str | None = None
    finished_at: str | None = None
    result_expires_at: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVE


class JobPage(Parsed):
    """A page of jobs, the newest first, and the cursor of the next page."""

    jobs: list[Job]
    next: str | None = None


@dataclass(frozen=True)
class JobEvent:
    """One server-sent event of a job.

    Attributes:
        id: number, to resume a stream after.
        name: progress, completed, error or canceled; all but the first are the last event.
        progress: of a `progress` event.
        error: of an `error` event.
    """

    id: int
    name: str
    progress: Progress | None = None
    error: Problem | None = None

    @property
    def is_last(self) -> bool:
        """Whether no event follows."""
        return self.name in ENDS


ENDS = frozenset({"completed", "error", "canceled"})
