"""Gateway middleware: request id, API key, rate limit, size check, headers, log line, problems.

Plain ASGI around the whole app, so that it also covers the framework's own responses, and so that
endpoints read the body and detect a client's disconnect themselves.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIWebSocketRoute
from opentelemetry.trace import Span
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extract.errors import ExtractError
from model.errors import ModelError
from server.api.access import GuessLimiter, Keys, RateLimiter, rate_limit_key, with_key
from server.api.negotiation import allowed, parse_length, preference_of
from server.api.request_head import Hosts, check_size
from server.errors import BodyTooLarge, FieldInvalid, MalformedRequest, ServerError
from server.problem_types import (
    BY_STATUS,
    CALLER_GONE,
    DRAINING,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    ProblemType,
)
from server.schemas.options import field_errors
from server.schemas.problems import MEDIA_TYPE, Problem, problem_from
from server.settings.settings import Settings
from server.telemetry import logs
from server.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json"})
OPEN_FOLDERS = ("/docs/static/", "/ui/")
"""Every other path needs the key, paths that do not exist included."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Added to every response that does not set its own."""

DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
"""For the API reference, which starts with an inline script."""

JOBS_PATH = "/v1/predictions"
"""The path where `Prefer: respond-async` raises the body limit to that of a job."""

CALLER = "egopack.caller"
"""Scope entry for the name of the caller's key, set if keys are required."""

OIP_FOLDER = "/v2"
"""Paths below it follow the Open Inference Protocol, whose errors are `{"error": "..."}`."""

SWITCHED = 101
"""Status of a WebSocket that was opened."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class _ResponseSender:
    """Sends a response with the standard headers, and records its status."""

    def __init__(self, send: Send, request_id: str, path: str) -> None:
        self._send, self._request_id, self._path = send, request_id, path
        self.status = CALLER_GONE.status  # until a response starts
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.status, self.has_begun = SWITCHED, True
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status, self.has_begun = message["status"], True
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            if self._path == "/docs":
                headers.setdefault("Content-Security-Policy", DOCS_POLICY)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


class GatewayMiddleware:
    """Wraps the app; the outermost handler of exceptions."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        keys: Keys,
        limits: Mapping[str, float],
        telemetry: Telemetry,
    ) -> None:
        self._app = app
        self._limits = limits
        self._telemetry = telemetry
        self._max_bytes = settings.max_upload_bytes
        self._max_job_bytes = settings.job_max_upload_bytes
        self._keys = keys
        self._rate_limiter = RateLimiter(settings.rate_limit)
        self._guesses = GuessLimiter(settings.key_guess_limit)
        self._hosts = Hosts(settings)
        self._open = OPEN_PATHS | ({"/metrics"} if settings.open_metrics else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request; lifespan events pass through."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        is_socket = scope["type"] == "websocket"
        scope = {**scope, "path": _without_slash(scope["path"])}
        headers = with_key(Headers(scope=scope)) if is_socket else Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        notes: dict[str, Any] = {}
        tokens = logs.request_id.set(request_id), logs.notes.set(notes)
        started_s = time.perf_counter()
        method = "WEBSOCKET" if is_socket else scope["method"]
        sender = _ResponseSender(send, request_id, scope["path"])
        with self._telemetry.tracing.request(method, headers) as span:
            try:
                self._check(scope, headers)
                if method == "HEAD":  # supported wherever GET is
                    scope = {**scope, "method": "GET"}
                    head = _HeadOnly(receive, sender)
                    await self._app(scope, head.receive, head.send)
                else:
                    await self._app(scope, receive, sender)
            except Exception as error:
                if sender.has_begun:
                    raise  # too late for another response
                response = respond(problem_from(error, self._limits), scope["path"])
                await response(scope, receive, sender)
            finally:
                self._report(
                    method, scope, sender.status, notes, time.perf_counter() - started_s, span
                )
                logs.request_id.reset(tokens[0])
                logs.notes.reset(tokens[1])

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Runs the checks that do not need the body."""
        check_size(scope)
        self._hosts.check(scope, headers)
        path = scope["path"]
        if path not in self._open and not path.startswith(OPEN_FOLDERS):
            caller = self._keys.caller(headers)
            address = rate_limit_key((scope.get("client") or ("",))[0])
            # Before the key check, so that guesses of keys are limited too.
            self._rate_limiter.check(f"key {caller}" if caller else f"address {address}")
            self._guesses.check(address, caller, is_guess=self._keys.is_guess(headers))
            self._keys.require(caller)
            if caller:
                logs.note(key=caller)
                scope[CALLER] = caller
        length = parse_length(headers.get("content-length", "0"))
        if length is None:
            raise MalformedRequest("Content-Length is no number of bytes")
        if length > (limit := self._limit(path, headers)):
            raise BodyTooLarge(f"the body is larger than {limit} bytes")

    def _limit(self, path: str, headers: Headers) -> int:
        """Body size limit in bytes: that of jobs, or of synchronous requests."""
        is_job = path == JOBS_PATH and preference_of(headers).is_async
        return self._max_job_bytes if is_job else self._max_bytes

    def _report(
        self,
        method: str,
        scope: Scope,
        status: int,
        notes: dict[str, Any],
        ran_s: float,
        span: Span,
    ) -> None:
        """Writes the log line, the metrics and the span's attributes."""
        problem: ProblemType | None = notes.pop("problem", None)
        route = scope.get("route")
        endpoint = getattr(route, "operation_id", None) or "none"
        if isinstance(route, APIWebSocketRoute):
            endpoint = route.name
        self._telemetry.metrics.count_answer(endpoint, status, problem, ran_s)
        if problem is not None:
            notes["problem"] = problem.slug
        span.update_name(f"{method} {endpoint}")
        span.set_attributes({"http.response.status_code": status, "egopack.endpoint": endpoint})
        span.set_attributes({f"egopack.{name}": value for name, value in notes.items()})
        logger.info(
            "%s %s %d",
            method,
            scope["path"],
            status,
            extra={"ms": round(ran_s * 1000, 1), **notes},
        )


def _without_slash(path: str) -> str:
    """A trailing slash is dropped here: a redirect would need a reverse proxy's address."""
    return path.removesuffix("/") or "/"


class _HeadOnly:
    """Passes a response on without its body (RFC 9110, section 9.3.2).

    A stream, which declares no length, ends with its headers: to the app the client hangs up.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._has_ended = asyncio.Event()

    async def receive(self) -> Message:
        message = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._has_ended.wait())
        try:
            await asyncio.wait({message, ended}, return_when=asyncio.FIRST_COMPLETED)
            return {"type": "http.disconnect"} if self._has_ended.is_set() else message.result()
        finally:
            message.cancel()
            ended.cancel()

    async def send(self, message: Message) -> None:
        if self._has_ended.is_set():
            return
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
        if message["type"] == "http.response.start" and "content-length" not in Headers(
            raw=message["headers"]
        ):
            self._has_ended.set()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def respond(problem: Problem, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns the response for a problem, in the format of the protocol that the path belongs to.

    Args:
        problem: what to send.
        path: of the request.
        headers: added to the response.
    """
    if path.startswith(OIP_FOLDER):
        body, media_type = json.dumps({"error": problem.detail}), "application/json"
    else:
        body = problem.body(logs.current_request()).model_dump_json(exclude_none=True)
        media_type = MEDIA_TYPE
    response = Response(body, problem.kind.status, headers, media_type)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.kind is DRAINING:
        response.headers["Connection"] = "close"  # later requests have to reach another server
    if problem.kind.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def install_handlers(
    app: FastAPI, limits: Mapping[str, float], routes: Iterable[BaseRoute]
) -> None:
    """Makes the app respond with a problem to every expected exception, the framework's included.

    Args:
        app: gets the exception handlers.
        limits: every limit in force.
        routes: of the API.
    """

    async def known(request: Request, error: Exception) -> Response:
        return respond(problem_from(error, limits), request.url.path)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # drop "query", "path"
        return await known(request, FieldInvalid(*field_errors(errors)))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = BY_STATUS.get(error.status_code, INTERNAL)
        logs.note(problem=kind)
        headers = error.headers if kind is not METHOD_NOT_ALLOWED else allowed(request, routes)
        return respond(Problem(kind, kind.title), request.url.path, headers)

    for root in (ServerError, ExtractError, ModelError):
        app.add_exception_handler(root, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
