"""Ray Serve proxy middleware: the proxy's own plain-text errors -> problem+json.

The proxy responds itself when no front end is running, or when one dies during a request.
`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=server.cluster.proxy:middlewares` in a node's environment
adds this middleware to its proxy.
"""

import logging
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problem_types import DEADLINE, ProblemType
from server.schemas.problems import MEDIA_TYPE, Problem

logger = logging.getLogger(__name__)

CALLBACK = "server.cluster.proxy:middlewares"
"""Value of the variable above."""

HEALTH_CHECKS = "/-/"
"""Path prefix of Serve's own health checks for load balancers."""

OURS = "x-content-type-options"
"""A header that the application sets on every response, and the proxy on none."""

NO_FRONT_END = ProblemType(
    503, "no-front-end", "No front end takes requests now.", is_retryable=True
)


def middlewares() -> list[Middleware]:
    """Returns the middleware for Serve to add when a proxy starts."""
    return [Middleware(ProblemMiddleware)]


class ProblemMiddleware:
    """Wraps the proxy; passes the application's responses on, but for a repeated request id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["path"].startswith(HEALTH_CHECKS):
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
                    await _refusal(message["status"], request_id)(scope, receive, send)
                else:
                    headers["X-Request-ID"] = request_id
            if not is_replaced:
                await send(message)

        try:
            await self._app(scope, receive, pass_on)
        except Exception as error:
            if has_begun:
                raise  # closes the connection, which marks the response as incomplete
            logger.warning("a front end was lost: %r", error)
        if not has_begun:  # uvicorn would send a plain-text error
            request_id = Headers(scope=scope).get("X-Request-ID", "unknown")
            await _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, request_id)(scope, receive, send)


def _refusal(status: int, request_id: str) -> Response:
    kind = DEADLINE if status == HTTPStatus.REQUEST_TIMEOUT else NO_FRONT_END
    body = Problem(kind, kind.title).body(request_id).model_dump_json(exclude_none=True)
    headers = {"Cache-Control": "no-store", "Retry-After": "5", "X-Request-ID": request_id}
    return Response(body, kind.status, headers, MEDIA_TYPE)
