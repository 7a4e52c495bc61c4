"""Exceptions -> problem+json (RFC 9457), the framework's own included."""

import json
import logging
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from extract.errors import ExtractError
from model.errors import ModelError
from server.errors import FieldInvalid, ServerError
from server.problem_types import BY_STATUS, DRAINING, INTERNAL, ProblemType
from server.schemas.options import field_errors
from server.schemas.prediction import FieldProblem, ProblemBody
from server.schemas.problems import Problem, problem_from
from server.telemetry import logs

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

OIP_FOLDER = "/v2"
"""Below it the Open Inference Protocol is spoken, whose errors are `{"error": "..."}`."""


def type_uri(kind: ProblemType) -> str:
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


def respond(problem: Problem, path: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Returns the response that says it, in the words of the protocol that the path belongs to."""
    logs.note(problem=problem.kind)
    if path.startswith(OIP_FOLDER):
        body, media_type = json.dumps({"error": problem.detail}), "application/json"
    else:
        body = body_of(problem, current_request()).model_dump_json(exclude_none=True)
        media_type = MEDIA_TYPE
    response = Response(body, problem.kind.status, headers, media_type)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.kind is DRAINING:
        response.headers["Connection"] = "close"  # the next request belongs elsewhere
    if problem.kind.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def current_request() -> str:
    """Id of the request being answered."""
    return logs.request_id.get() or "unknown"


def look_into(error: BaseException, limits: Mapping[str, float]) -> Problem:
    """Returns what to tell the caller; what is our fault goes to the log in full."""
    problem = problem_from(error, limits)
    logs.note(problem=problem.kind)
    if problem.kind is INTERNAL:
        logger.error("unexpected %s", type(error).__name__, exc_info=error)
    else:
        logger.debug("refused: %s", problem.kind.slug, exc_info=error)
    return problem


def respond_to(error: BaseException, limits: Mapping[str, float], path: str) -> Response:
    """Returns the response to an exception.

    Args:
        error: anything that was raised while answering.
        limits: every limit in force.
        path: that was asked for.
    """
    return respond(look_into(error, limits), path)


def install(app: FastAPI, limits: Mapping[str, float]) -> None:
    """Makes the app answer every exception with a problem."""

    async def known(request: Request, error: Exception) -> Response:
        return respond_to(error, limits, request.url.path)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # drop "query", "path"
        return respond_to(FieldInvalid(*field_errors(errors)), limits, request.url.path)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = BY_STATUS.get(error.status_code, INTERNAL)
        return respond(Problem(kind, kind.title), request.url.path, error.headers)

    for root in (ServerError, ExtractError, ModelError):
        app.add_exception_handler(root, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
