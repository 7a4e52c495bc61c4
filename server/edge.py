"""The first and last thing a request meets: id, key, early size check, headers, one log line.

Plain ASGI around the whole app, so it also covers what the framework answers by itself, and so
that reading the body and noticing a hang-up stay the endpoint's business.
"""

import hmac
import logging
import re
import time
from collections.abc import Mapping
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import logs
from server.errors import CALLER_GONE, BodyTooLarge, Unauthenticated
from server.prefer import preference_of
from server.problems import respond_to
from server.settings import Settings

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/livez", "/readyz", "/docs", "/openapi.json"})
JOBS_PATH = "/v1/predictions"
"""Where bodies may be as long as a job's, for those who prefer to come back."""

OPEN_FOLDER = "/docs/static/"
"""Everything else asks for the key, paths that do not exist included."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Edge:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, *, settings: Settings, limits: Mapping[str, float]) -> None:
        self._app = app
        self._settings = settings
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; lifespan events pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        token = logs.request_id.set(request_id)
        started_s = time.perf_counter()
        status = CALLER_GONE.status  # unless somebody answers

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                marked = MutableHeaders(scope=message)
                marked["X-Request-ID"] = request_id
                marked["X-Content-Type-Options"] = "nosniff"
                marked.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope["path"], headers)
            if scope["method"] == "HEAD":  # whatever can be read can be asked about
                await self._app({**scope, "method": "GET"}, receive, _bodiless(send_marked))
            else:
                await self._app(scope, receive, send_marked)
        except Exception as error:  # the outermost edge: nothing may leave without an answer
            if status != CALLER_GONE.status:
                raise  # too late for another answer
            response = respond_to(error, self._limits, scope["path"])
            await response(scope, receive, send_marked)
        finally:
            logger.info(
                "%s %s %d",
                scope["method"],
                scope["path"],
                status,
                extra={"ms": round((time.perf_counter() - started_s) * 1000, 1)},
            )
            logs.request_id.reset(token)

    def _check(self, path: str, headers: Headers) -> None:
        key = self._settings.api_key
        if key is not None and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            scheme, _, bearer = headers.get("authorization", "").partition(" ")
            given = bearer if scheme.lower() == "bearer" else headers.get("x-api-key", "")
            if not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
                raise Unauthenticated("send the API key as a bearer token")
        length = headers.get("content-length", "")
        limit = self._settings.max_upload_bytes
        if path == JOBS_PATH and preference_of(headers).is_async:
            limit = self._settings.job_max_upload_bytes
        if length.isdecimal() and int(length) > limit:
            raise BodyTooLarge(f"the body is larger than {limit} bytes")


def _bodiless(send: Send) -> Send:
    """Passes a response on without its body (RFC 9110, section 9.3.2)."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
