"""What is known of a job: plain values, no database behind them."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]

LIVE: tuple[State, ...] = ("queued", "running")
"""Every other state is an end; only `succeeded` may still become `expired`."""

InputKind = Literal["video", "features"]


@dataclass(frozen=True)
class NewJob:
    """A job as it comes in.

    Attributes:
        id: ours, unguessable.
        caller: who may see it.
        request: the caller's choices, as JSON.
        input_kind: what was sent.
        input_bytes: its size.
        input_sha256: its hash.
        webhook_url: who is told of the end.
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
    """A job as it stands. Times are seconds since 1970.

    Attributes:
        state: where in its life it is.
        attempt: how often it was begun; one that was handed back in good order does not count.
        token: grows with every claim; a worker that holds an old one may no longer write.
        lease_expires_s: until then its worker is taken to be alive.
        progress: the last news of it, as JSON.
        result: name of the result's file.
        error: the problem it failed with, as JSON.
        created_s: when it was accepted.
        started_s: when it was first begun.
        finished_s: when it ended.
        expires_s: when its result goes, or went.
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
        """Whether it may still change by itself."""
        return self.state in LIVE


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Attributes:
        seq: counts the job's events from 1.
        name: `progress`, `completed`, `error` or `canceled`; after the last three nothing comes.
        data: as JSON.
    """

    seq: int
    name: str
    data: dict[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.name != "progress"


@dataclass(frozen=True)
class Delivery:
    """A message about the end of a job, claimed by whoever is to send it.

    Attributes:
        job_id: whose end.
        url: where to.
        attempt: which try this is, from 1.
        token: grows with every claim.
        finished_s: when the job ended.
    """

    job_id: str
    url: str
    attempt: int
    token: int
    finished_s: float

    @property
    def message_id(self) -> str:
        """The same for every try, so that a receiver can tell a repetition."""
        return f"msg_{self.job_id}"
