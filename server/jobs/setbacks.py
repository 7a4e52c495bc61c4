"""Setbacks: what keeps a job from its end and is no fault of it, such as a full disk.

They are waited for, with exponential back-off, and cost the job no attempt.
"""

import errno
from collections.abc import Iterator

from extract.errors import DecoderUnavailable
from server.errors import (
    Draining,
    JobsUnavailable,
    NotReady,
    Unhealthy,
    is_out_of_host_memory,
    kind_of,
)

FIRST_S, LONGEST_S = 1.0, 60.0
"""Waits between tries: the first, and the longest, to which each next one doubles."""

_AWAY = "the folder of jobs is away"
_CLOSED = "the folder of jobs may not be written"
_REASONS = {
    errno.ENOSPC: "the disk of jobs is full",
    errno.EDQUOT: "the disk quota of jobs is used up",
    errno.EFBIG: "the largest size of a file is reached",
    errno.EROFS: "the disk of jobs is read-only",
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.ESTALE: _AWAY,
    errno.ENOTCONN: _AWAY,
    errno.ETIMEDOUT: _AWAY,
    errno.EHOSTDOWN: _AWAY,
    errno.EMFILE: "the server has no file descriptors left",
    errno.ENFILE: "the machine has no file descriptors left",
    errno.ENOMEM: "the machine has no memory or no threads left",
    errno.EAGAIN: "the machine has no processes left",
}
"""Errors of the system that pass, in words for callers."""


def reason_of(error: BaseException) -> str | None:
    """Returns in words for callers what has to be waited for; None of any other error."""
    cause: BaseException | None = error
    while cause is not None:
        if reason := _reason_of_one(cause):
            return reason
        cause = cause.__cause__
    return None


def _reason_of_one(error: BaseException) -> str | None:
    match error:
        case OSError():
            return _REASONS.get(error.errno or 0)
        case JobsUnavailable():
            return str(error)
        case DecoderUnavailable() | Unhealthy() | NotReady() | Draining():
            return kind_of(error).title.removesuffix(".")
    return _REASONS[errno.ENOMEM] if is_out_of_host_memory(error) else None


def store_reason(error: Exception) -> str:
    """Returns in words for callers what is wrong with the store, by a driver's error."""
    cause = getattr(error, "orig", None)
    code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", ""))
    if code.startswith(("SQLITE_FULL", "53100")):
        return "the disk of the job store is full"
    if code.startswith(("SQLITE_READONLY", "25006")):
        return "the job store is read-only"
    return "the store of jobs does not answer"


def waits_s(longest_s: float = LONGEST_S) -> Iterator[float]:
    """Yields the seconds to wait before each next try, without end."""
    wait_s = FIRST_S
    while True:
        yield min(wait_s, longest_s)
        wait_s = min(2 * wait_s, longest_s)
