"""What callers hear when Ray Serve's own proxy answers: our words, in problem+json, not its text.

The proxy answers by itself when there is no front end (yet, or any more) or when one dies with a
request in its hands. `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=server.cluster.proxy:middlewares`
in a node's environment puts this around its proxy.
"""

import json
import logging
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problem_types import DEADLINE, ProblemType

logger = logging.getLogger(__name__)

CALLBACK = "server.cluster.proxy:middlewares"
"""For the variable above."""

RAYS_OWN = "/-/"
"""Below it are Serve's health checks, which its balancers read."""

OURS = "x-content-type-options"
"""A header that the application puts on everything it says, and the proxy on nothing."""

NO_FRONT_END = ProblemType(503, "no-front-end", "Nobody takes requests now.", is_retryable=True)
RETRY_AFTER_S = "5"


def middlewares() -> list[Middleware]:
    """What Serve asks for when a proxy starts."""
    return [Middleware(Problems)]


class Problems:
    """Wraps the proxy; what comes from the application passes untouched, but for a repeated id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http" or scope["path"].startswith(RAYS_OWN):
            await self._app(scope, receive, send)
            return
        has_begun = is_replaced = False

        async def pass_on(message: Message) -> None:
            nonlocal has_begun, is_replaced
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                request_id = headers.get("X-Request-ID", "unknown")  # the application's comes first
                if is_replaced := OURS not in headers and message["status"] >= 400:
                    await _refuse(message["status"], request_id, send)
                else:
                    headers["X-Request-ID"] = request_id
            if not is_replaced:
                await send(message)

        try:
            await self._app(scope, receive, pass_on)
        except Exception as error:
            if has_begun:
                raise  # cut off, so that nobody takes a half for the whole
            logger.warning("a front end was lost: %r", error)
        if not has_begun:  # it died with the request; uvicorn would say so in plain text
            request_id = Headers(scope=scope).get("X-Request-ID", "unknown")
            await _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, request_id, send)


async def _refuse(status: int, request_id: str, send: Send) -> None:
    kind = DEADLINE if status == HTTPStatus.REQUEST_TIMEOUT else NO_FRONT_END
    body = json.dumps(
        {
            "type": f"urn:egopack:problem:{kind.slug}",
            "title": kind.title,
            "status": kind.status,
            "detail": kind.title,
            "instance": f"urn:request:{request_id}",
            "code": kind.slug,
            "request_id": request_id,
            "retryable": True,
        }
    ).encode()
    headers = Headers(
        {
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Retry-After": RETRY_AFTER_S,
            "X-Request-ID": request_id,
        }
    )
    await send({"type": "http.response.start", "status": kind.status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})
