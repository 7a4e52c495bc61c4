"""Problem details (RFC 9457): an exception -> what a caller may see of it -> JSON."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from extract import errors as extract_errors
from model import errors as model_errors
from server.errors import FieldInvalid, ServerError, kind_of
from server.problem_types import INTERNAL, TOO_LARGE_FOR_SYNC, TOO_LONG, ProblemType
from server.schemas.prediction import FieldProblem, ProblemBody
from server.telemetry import logs

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """One refusal or failure as sent to a caller: free of paths, tracebacks and decoder output."""

    kind: ProblemType
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def body(self, request_id: str) -> ProblemBody:
        """Returns the JSON body."""
        return ProblemBody(
            type=f"urn:egopack:problem:{self.kind.slug}",
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            instance=f"urn:request:{request_id}",
            code=self.kind.slug,
            request_id=request_id,
            retryable=self.kind.is_retryable,
            errors=[FieldProblem(pointer=where, detail=why) for where, why in self.errors] or None,
            limits=dict(self.limits) or None,
        )


def problem_from(error: BaseException, limits: Mapping[str, float] | None = None) -> Problem:
    """Returns the problem that an exception stands for, and logs it; an internal error in full.

    Args:
        error: anything that was raised while a request or job was processed.
        limits: every limit in force; those that explain the refusal are included.
    """
    kind = kind_of(error)
    logs.note(problem=kind)
    if kind is INTERNAL:
        logger.error("unexpected %s", type(error).__name__, exc_info=error)
    else:
        logger.debug("refused: %s", kind.slug, exc_info=error)
    return Problem(
        kind=kind,
        detail=_detail(error, kind) + _job_hint(error, kind, limits or {}),
        errors=_field_errors(error),
        retry_after_s=getattr(error, "retry_after_s", 5 if kind.status == 503 else None),
        limits={name: limits[name] for name in kind.limits if limits and name in limits},
    )


def _detail(error: BaseException, kind: ProblemType) -> str:
    """Only messages written for callers are sent; every other exception gets its type's title."""
    match error:
        case extract_errors.VideoRejected():
            return error.detail
        case extract_errors.DecoderDied():
            return "The decoder crashed on this file."
        case extract_errors.DecodeTimeout():
            return "The decoder did not get done in time, and not for want of a sound file."
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


def _job_hint(error: BaseException, kind: ProblemType, limits: Mapping[str, float]) -> str:
    """Advice to send a job, where a job would be accepted."""
    is_slow = isinstance(error, extract_errors.VideoRejected) and error.code == "too-slow"
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
