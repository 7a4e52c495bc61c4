"""Exceptions -> what a caller is told, in words that are safe to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from extract import errors as extract_errors
from model import errors as model_errors
from server.errors import FieldInvalid, ServerError, kind_of
from server.problem_types import INTERNAL, TOO_LARGE_FOR_SYNC, TOO_LONG, ProblemType


@dataclass(frozen=True)
class Problem:
    """One occurrence: what a caller is told, free of paths, tracebacks and decoder text."""

    kind: ProblemType
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


def problem_from(error: BaseException, limits: Mapping[str, float] | None = None) -> Problem:
    """Returns what to tell the caller about an exception.

    Args:
        error: anything that was raised while answering.
        limits: every limit in force; the ones that explain the refusal are passed on.
    """
    kind = kind_of(error)
    retry_after_s = getattr(error, "retry_after_s", 5 if kind.status == 503 else None)
    return Problem(
        kind=kind,
        detail=_detail(error, kind) + _way_out(error, kind, limits or {}),
        errors=_field_errors(error),
        retry_after_s=retry_after_s,
        limits={name: limits[name] for name in kind.limits if limits and name in limits},
    )


def _detail(error: BaseException, kind: ProblemType) -> str:
    """Only messages written for callers leave; every other exception gets its row's title."""
    match error:
        case extract_errors.VideoRejected():
            return error.detail
        case extract_errors.DecoderDied():
            return "The decoder stopped on this file."
        case extract_errors.DecodeStalled():
            return "No frame came of this file for too long."
        case extract_errors.DecodeTimeout():
            return "decoding this file takes longer than the limit"
        case (
            model_errors.UnknownTask()
            | model_errors.SegmentInvalid()
            | model_errors.SearchInvalid()
            | model_errors.FeatureMismatch()
        ):
            return str(error)
        case ServerError() if error.args and kind is not INTERNAL:
            return str(error)
        case _:
            return kind.title


def _way_out(error: BaseException, kind: ProblemType, limits: Mapping[str, float]) -> str:
    """What to do about a refusal that a job would not make."""
    is_slow = isinstance(error, extract_errors.DecodeTimeout)
    is_slow = is_slow and not isinstance(error, extract_errors.DecodeStalled)
    if not is_slow and kind not in (TOO_LONG, TOO_LARGE_FOR_SYNC):
        return ""
    longest_s = limits.get("job_max_duration_s")
    most = "" if longest_s is None else f", which may last {longest_s:g} s"
    return f"; send it to /v1/predictions as a job (Prefer: respond-async){most}"


def _field_errors(error: BaseException) -> tuple[tuple[str, str], ...]:
    match error:
        case FieldInvalid():
            return error.errors
        case model_errors.UnknownTask():
            return (("/tasks", str(error)),)
        case model_errors.SearchInvalid():
            return ((f"/{error.field}", error.detail),)
        case model_errors.SegmentInvalid():
            return ((f"/segments/{error.index}", error.detail),)
        case _:
            return ()
