"""The first and last thing a request meets: id, key, rate, early size check, headers, one log line.

Plain ASGI around the whole app, so it also covers what the framework answers by itself, and so
that reading the body and noticing a hang-up stay the endpoint's business.
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from opentelemetry.trace import Span
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.access import Keys
from server.api.negotiation import preference_of
from server.errors import BodyTooLarge
from server.problem_types import CALLER_GONE, ProblemType
from server.problems import respond_to
from server.rates import Rates, rate_limit_key
from server.settings.settings import Settings
from server.telemetry import logs
from server.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json"})
OPEN_FOLDERS = ("/docs/static/", "/ui/")
"""Everything else asks for the key, paths that do not exist included."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer that does not bring its own."""

DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
"""The API reference starts itself with a script in the page."""

JOBS_PATH = "/v1/predictions"
"""Where bodies may be as long as a job's, for those who prefer to come back."""

CALLER = "egopack.caller"
"""Where in the scope the name of the caller's key is, if keys are asked for."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class _Answer:
    """What was sent, as it goes by."""

    def __init__(self, send: Send, request_id: str, path: str) -> None:
        self._send, self._request_id, self._path = send, request_id, path
        self.status = CALLER_GONE.status  # unless somebody answers
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.has_begun = message["status"], True
            marked = MutableHeaders(scope=message)
            marked["X-Request-ID"] = self._request_id
            if self._path == "/docs":
                marked.setdefault("Content-Security-Policy", DOCS_POLICY)
            for name, value in SECURITY_HEADERS.items():
                marked.setdefault(name, value)
        await self._send(message)


class GatewayMiddleware:
    """Wraps the app."""

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
        self._rates = Rates(settings.rate_limit)
        self._open = OPEN_PATHS | ({"/metrics"} if settings.open_metrics else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; lifespan events pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": _without_slash(scope["path"])}
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        notes: dict[str, Any] = {}
        tokens = logs.request_id.set(request_id), logs.notes.set(notes)
        started_s = time.perf_counter()
        method = scope["method"]
        answer = _Answer(send, request_id, scope["path"])
        with self._telemetry.tracing.request(method, headers) as span:
            try:
                self._check(scope, headers)
                if scope["method"] == "HEAD":  # whatever can be read can be asked about
                    scope = {**scope, "method": "GET"}
                    await self._app(scope, receive, _bodiless(answer))
                else:
                    await self._app(scope, receive, answer)
            except Exception as error:  # the outermost edge: nothing may leave without an answer
                if answer.has_begun:
                    raise  # too late for another answer
                await respond_to(error, self._limits, scope["path"])(scope, receive, answer)
            finally:
                self._report(
                    method, scope, answer.status, notes, time.perf_counter() - started_s, span
                )
                logs.request_id.reset(tokens[0])
                logs.notes.reset(tokens[1])

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuses what can be refused before the body is read."""
        path = scope["path"]
        if path not in self._open and not path.startswith(OPEN_FOLDERS):
            caller = self._keys.caller(headers)
            address = rate_limit_key((scope.get("client") or ("",))[0])
            # First the rate, so that guessing keys is slow too.
            self._rates.check(f"key {caller}" if caller else f"address {address}")
            self._keys.require(caller)
            if caller:
                logs.note(key=caller)
                scope[CALLER] = caller
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > (limit := self._limit(path, headers)):
            raise BodyTooLarge(f"the body is larger than {limit} bytes")

    def _limit(self, path: str, headers: Headers) -> int:
        """Largest body; what becomes a job may be larger than what is answered at once."""
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
        """One log line, one count, one span."""
        problem: ProblemType | None = notes.pop("problem", None)
        endpoint = getattr(scope.get("route"), "operation_id", None) or "none"
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
    """A slash more at the end names the same; a redirect would have to know the proxy's address."""
    return path.removesuffix("/") or "/"


def _bodiless(send: Send) -> Send:
    """Passes a response on without its body (RFC 9110, section 9.3.2)."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
