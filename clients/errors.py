"""Errors of the client, by what the caller can do about them.

ClientError
├── Rejected         the request is at fault; a retry will not help
│   ├── KeyRefused   the API key is missing or wrong
│   ├── NotFound     there is no such model, job, clip or skill
│   ├── BadClip      the clip, or its features, cannot be decoded or used
│   ├── NeedsJob     too long or large for a synchronous answer; `submit` it
│   ├── NotFinished  the job has no result, or none yet
│   └── ResultGone   the job's result has expired
├── Busy             the server is full, starting or stopping; later may work
├── ServerFault      the server failed, or its response is malformed
├── Unreachable      no connection, or no response in time
└── TimedOut         the caller's own time limit is up
"""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Base class of everything a call raises.

    Attributes:
        status: HTTP status; None without a response.
        code: the problem's stable slug; empty if the server sent none.
        request_id: finds the request in the server's log.
        errors: (JSON pointer, detail) of each wrong field.
        limits: the server's limits that explain a refusal.
        retry_after_s: seconds of `Retry-After`, if the server sent it.
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
    """There is no such model, job, clip or skill."""


class BadClip(Rejected):
    """The clip, or its features, cannot be decoded or used; see `code`."""


class NeedsJob(Rejected):
    """The clip is too long or large for a synchronous answer; a job may still accept it."""


class NotFinished(Rejected):
    """The job has no result, or none yet."""


class ResultGone(Rejected):
    """The job's result has expired."""


class Busy(ClientError):
    """The server is full, starting or stopping; a later try may succeed."""


class ServerFault(ClientError):
    """The server failed, or its response is malformed."""


class Unreachable(ClientError):
    """No connection, or no response in time."""


class TimedOut(ClientError):
    """The caller's own time limit is up; a job continues on the server."""


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
"""Slug -> class, where it is more specific than the status."""


def error_of(
    status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
) -> ClientError:
    """Returns the error of a problem response (RFC 9457); `problem` is its JSON, or empty."""
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
