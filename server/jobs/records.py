"""Job records: a job, its events, its webhook delivery, as plain values."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]

LIVE: tuple[State, ...] = ("queued", "running")
"""States of a job that has not ended; of the others, only `succeeded` may change, to `expired`."""

InputKind = Literal["video", "features", "labels"]
"""`labels`: of a job that teaches a skill."""


@dataclass(frozen=True)
class NewJob:
    """A job as it is accepted.

    Attributes:
        id: unguessable.
        caller: owner, who alone may see it.
        request: options, as JSON.
        input_kind: type of the input.
        input_bytes: size of the input.
        input_sha256: hash of the input.
        webhook_url: gets a message about the end.
    """

    id: str
    caller: str
    request: dict[str, Any]
    input_kind: InputKind
    input_bytes: int
    input_sha256: str
    webhook_url: str | None = None


@dataclass(frozen=True)
class Job(NewJob):
    """A job as it is stored. Times are seconds since 1970.

    Attributes:
        state: lifecycle state.
        attempt: number of claims; one put back at a graceful stop does not count.
        token: fencing token, grows with every claim; a worker with an old one may not write.
        lease_expires_s: until then its worker is assumed to be alive.
        progress: latest progress, as JSON.
        result: name of the result's file.
        error: problem details of a failure, as JSON.
        created_s: when it was accepted.
        started_s: when it was first claimed.
        finished_s: when it ended.
        expires_s: when its result expires, or did.
    """

    state: State = "queued"
    attempt: int = 0
    token: int = 0
    lease_expires_s: float | None = None
    progress: dict[str, Any] | None = None
    result: str | None = None
    error: dict[str, Any] | None = None
    created_s: float = 0.0
    started_s: float | None = None
    finished_s: float | None = None
    expires_s: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVE


@dataclass(frozen=True)
class Event:
    """An event of a job.

    Attributes:
        seq: number of the event within its job, from 1.
        name: `progress`, or one of the last events `completed`, `error` and `canceled`.
        data: as JSON.
    """

    seq: int
    name: str
    data: dict[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether it is the job's last event."""
        return self.name != "progress"


@dataclass(frozen=True)
class Delivery:
    """A webhook message about the end of a job, claimed for one attempt.

    Attributes:
        job_id: the job.
        url: the receiver.
        attempt: number of this attempt, from 1.
        token: fencing token, grows with every claim.
        finished_s: when the job ended, in seconds since 1970.
        caller: owner of the job.
        receiver: host of the URL.
    """

    job_id: str
    url: str
    attempt: int
    token: int
    finished_s: float
    caller: str | None = None
    receiver: str | None = None

    @property
    def message_id(self) -> str:
        """The same for every attempt, so that a receiver can drop duplicates."""
        return f"msg_{self.job_id}"
