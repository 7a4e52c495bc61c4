"""What can go wrong with a call.

ClientError
├── Rejected         the request is at fault; sending it again will not help
│   ├── KeyRefused   the API key is missing or wrong
│   ├── NotFound     there is no such model or job
│   ├── BadClip      the clip, or its features, cannot be answered
│   ├── NeedsJob     too long or large to wait for; `submit` may still take it
│   ├── NotFinished  the job has no result, or none yet
│   └── ResultGone   the job's result was kept for as long as promised
├── Busy             the server is full, starting or stopping; later may work
├── ServerFault      the server failed, or its answer cannot be read
├── Unreachable      no server answered
└── TimedOut         the time that the caller allowed is up
"""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Root of everything a call can raise.

    Attributes:
        status: HTTP status; None if nothing answered.
        code: the problem's stable slug; empty if the server sent none.
        request_id: quote it to whoever runs the server.
        errors: (JSON pointer, what is wrong) of each wrong field.
        limits: the server's limits that explain a refusal.
        retry_after_s: when the server said to come back, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        errors: tuple[tuple[str, str], ...] = (),
        limits: Mapping[str, float] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.errors = errors
        self.limits = dict(limits or {})
        self.retry_after_s = retry_after_s


class Rejected(ClientError):
    """The request is at fault: its clip, a field, or the API key."""


class KeyRefused(Rejected):
    """The API key is missing or wrong."""


class NotFound(Rejected):
    """There is no such model or job."""


class BadClip(Rejected):
    """The clip, or its features, cannot be answered; the code says why."""


class NeedsJob(Rejected):
    """The clip is too long or large to be answered while one waits; a job may still take it."""


class NotFinished(Rejected):
    """The job has no result, or none yet."""


class ResultGone(Rejected):
    """The job's result was kept for as long as promised, and is gone."""


class Busy(ClientError):
    """The server takes no more work just now."""


class ServerFault(ClientError):
    """The server failed, or sent something that is not an answer."""


class Unreachable(ClientError):
    """No connection, or no answer in time."""


class TimedOut(ClientError):
    """The time that the caller allowed is up; a job goes on without us."""


BY_CODE: dict[str, type[ClientError]] = {
    "unauthenticated": KeyRefused,
    "not-found": NotFound,
    "unsupported-media": BadClip,
    "undecodable-video": BadClip,
    "no-video-stream": BadClip,
    "too-short": BadClip,
    "too-long": BadClip,
    "too-many-pixels": BadClip,
    "frame-rate-too-high": BadClip,
    "codec-not-allowed": BadClip,
    "unusable-features": BadClip,
    "too-long-for-sync": NeedsJob,
    "too-large-for-sync": NeedsJob,
    "body-too-large": NeedsJob,
    "job-not-finished": NotFinished,
    "result-expired": ResultGone,
}
"""Slug -> class, where a caller may want to tell it from others of its status."""


def error_of(
    status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
) -> ClientError:
    """Returns what a problem (RFC 9457) means.

    Args:
        status: HTTP status.
        problem: its parsed JSON; empty if the body is none.
        retry_after_s: when the server said to come back.
    """
    code = str(problem.get("code", ""))
    fields, limits = problem.get("errors"), problem.get("limits")
    errors = tuple(
        (str(one.get("pointer", "")), str(one.get("detail", "")))
        for one in (fields if isinstance(fields, list) else ())
        if isinstance(one, dict)
    )
    return BY_CODE.get(code, _by_status(status))(
        str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"),
        status=status,
        code=code,
        request_id=str(problem.get("request_id", "")),
        errors=errors,
        limits=limits if isinstance(limits, dict) else None,
        retry_after_s=retry_after_s,
    )


def _by_status(status: int) -> type[ClientError]:
    if status in (429, 503):
        return Busy
    return Rejected if 400 <= status < 500 else ServerFault
