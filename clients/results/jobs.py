"""Jobs as they stand, and what is told of them on the way."""

from dataclasses import dataclass, field
from typing import Any

from clients.results.parsing import Parsed
from clients.results.predictions import Progress

LIVE = frozenset({"queued", "running"})
"""States of a job that has not ended; the others are ends."""


@dataclass(frozen=True)
class Problem(Parsed):
    """Why there is no answer (RFC 9457); `code` is the slug to switch on."""

    code: str
    status: int
    title: str = ""
    detail: str = ""
    request_id: str = ""
    retryable: bool = False
    limits: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JobInput(Parsed):
    """What was sent with a job."""

    kind: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Job(Parsed):
    """A job as it stands; times are RFC 3339.

    Attributes:
        id: ask for it by this.
        state: queued, running, succeeded, failed, canceled or expired.
        attempt: how often it was begun; more than once if a server was killed.
        input: what was sent.
        request: the choices it was sent with.
        created_at: when it was accepted.
        progress: how far it has come.
        error: why it failed.
        started_at: when it was last begun.
        finished_at: when it ended.
        result_expires_at: when its result goes, or went.
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


@dataclass(frozen=True)
class JobPage(Parsed):
    """Some jobs, the newest first, and where the next page begins."""

    jobs: list[Job]
    next: str | None = None


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        id: its number; a stream can be taken up after it.
        name: progress, completed, error or canceled; all but the first are ends.
        progress: how far the job has come, of a `progress` event.
        error: why it failed, of an `error` event.
    """

    id: int
    name: str
    progress: Progress | None = None
    error: Problem | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.name in ENDS


ENDS = frozenset({"completed", "error", "canceled"})
