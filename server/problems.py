"""Exceptions -> problem+json (RFC 9457), the framework's own included."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from extract.errors import ExtractError
from model.errors import ModelError
from server import logs
from server.errors import (
    BY_STATUS,
    DRAINING,
    INTERNAL,
    FieldInvalid,
    Kind,
    Problem,
    ServerError,
    describe,
)
from server.options import field_errors
from server.schemas import FieldProblem, ProblemBody

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def type_uri(kind: Kind) -> str:
    """Stable name of a kind of problem."""
    return f"urn:egopack:problem:{kind.slug}"


def body_of(problem: Problem, request_id: str) -> ProblemBody:
    """Returns the JSON a caller gets."""
    return ProblemBody(
        type=type_uri(problem.kind),
        title=problem.kind.title,
        status=problem.kind.status,
        detail=problem.detail,
        instance=f"urn:request:{request_id}",
        code=problem.kind.slug,
        request_id=request_id,
        retryable=problem.kind.is_retryable,
        errors=[FieldProblem(pointer=where, detail=why) for where, why in problem.errors] or None,
        limits=dict(problem.limits) or None,
    )


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Returns the response that says it."""
    body = body_of(problem, logs.request_id.get() or "unknown")
    logs.note(problem=problem.kind)
    response = Response(
        body.model_dump_json(exclude_none=True),
        status_code=problem.kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.kind is DRAINING:
        response.headers["Connection"] = "close"  # the next request belongs elsewhere
    if problem.kind.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def respond_to(error: BaseException, limits: Mapping[str, float]) -> Response:
    """Returns the response to an exception; what is our fault goes to the log in full."""
    problem = describe(error, limits)
    if problem.kind is INTERNAL:
        logger.error("unexpected %s", type(error).__name__, exc_info=error)
    else:
        logger.debug("refused: %s", problem.kind.slug, exc_info=error)
    return respond(problem)


def install(app: FastAPI, limits: Mapping[str, float]) -> None:
    """Makes the app answer every exception with a problem."""

    async def known(_: Request, error: Exception) -> Response:
        return respond_to(error, limits)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # drop "query", "path"
        return respond_to(FieldInvalid(*field_errors(errors)), limits)

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = BY_STATUS.get(error.status_code, INTERNAL)
        return respond(Problem(kind, kind.title), error.headers)

    for root in (ServerError, ExtractError, ModelError):
        app.add_exception_handler(root, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
