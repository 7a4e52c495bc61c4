"""HTTP server with Label Studio's machine learning backend API.

Callers are untrusted: bytes, depth of JSON, connections and the time to send a request are bounded.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from clients.api.requests import Choices
from clients.client import EgoPackClient
from clients.errors import ClientError
from clients.label_studio.clips import Clips
from clients.label_studio.fitting import START, Fitting
from clients.label_studio.interface import Interface

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 2**20
"""Of a request; tasks contain their annotations, but not their clips."""

MAX_DEPTH = 64
"""Objects and arrays inside each other in a request."""

MAX_CONNECTIONS = 16
"""Open at once, each with a thread; further ones get 503."""

REQUEST_S = 60.0
"""Longest time to send a request, and between two on one connection."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)

NOTHING: dict[str, Any] = {"result": [], "score": 0.0}
"""The prediction for a task that failed; the other tasks get theirs."""


class Backend:
    """Handles Label Studio's requests.

    Args:
        client: of the server that predicts.
        clips: fetches the clips of tasks.
        choices: request options of every prediction.
        fitting: teaches a skill from annotations; None: nothing is taught.
    """

    def __init__(
        self,
        client: EgoPackClient,
        clips: Clips,
        choices: Choices,
        fitting: Fitting | None = None,
    ) -> None:
        self._client, self._clips, self._choices = client, clips, choices
        self._fitting = fitting

    def answer(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Returns the HTTP status and the JSON of the response; `body` is empty for a GET."""
        try:
            match path.partition("?")[0].rstrip("/"):
                case "" | "/health":
                    self._client.wait_ready(0)
                    return 200, {"status": "UP", "model_class": "EgoPack"}
                case "/setup":
                    Interface.from_config(str(body.get("schema", "")))
                    return 200, {"model_version": self._version()}
                case "/versions":
                    return 200, {"versions": [self._version()]}
                case "/predict":
                    return 200, self._predict(body)
                case "/webhook":
                    return 201, self._notice(body)
                case "/train":  # as older versions of Label Studio ask
                    return 201, self._notice({**body, "action": START})
                case _:
                    return 404, {"error": "there is nothing here"}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}
        except ClientError as error:
            return 503, {"error": f"the EgoPack server: {error}"}

    def _notice(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What is said to a message; without `--teach` it is accepted and ignored."""
        return {} if self._fitting is None else {"status": self._fitting.notice(message)}

    def _predict(self, body: Mapping[str, Any]) -> dict[str, Any]:
        interface = Interface.from_config(str(body.get("label_config", "")))
        predictions = [self._prediction(task, interface) for task in body["tasks"]]
        return {"results": predictions, "model_version": self._version()}

    def _prediction(self, task: Mapping[str, Any], interface: Interface) -> dict[str, Any]:
        try:
            with self._clips.fetched(str(task["data"][interface.key])) as clip:
                return interface.prediction(self._client.predict(clip, **self._choices))
        except (ClientError, KeyError, OSError, TypeError, ValueError) as error:
            logger.warning("no prediction for task %s: %s", task.get("id"), error)
            return NOTHING

    def _version(self) -> str:
        model = self._client.models()[0]
        return f"{model.name} {model.version} {model.sha256[:12]}"


class BackendServer(ThreadingHTTPServer):
    """Listens from the start; the caller runs and closes it. Port 0 is any free one."""

    def __init__(self, backend: Backend, host: str, port: int) -> None:
        self.backend = backend
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._receiving: dict[socket.socket, float] = {}  # since when
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection a thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            with suppress(OSError):
                request.setblocking(False)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be started
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._receiving.pop(request, None)
            self._places.release()

    def note_receiving(self, connection: socket.socket, *, is_receiving: bool) -> None:
        """Notes that a connection's request is to come, or that it is there."""
        if is_receiving:
            self._receiving[connection] = time.monotonic()
        else:
            self._receiving.pop(connection, None)

    def service_actions(self) -> None:
        """Cuts off slow connections (slow loris); called by `serve_forever` when it polls."""
        oldest_s = time.monotonic() - REQUEST_S
        for connection, since_s in list(self._receiving.items()):
            if since_s < oldest_s:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: BackendServer
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_S  # for a caller who reads no answer

    def handle_one_request(self) -> None:
        self.server.note_receiving(self.connection, is_receiving=True)
        with suppress(ConnectionError):  # the caller left, or was cut off
            super().handle_one_request()
            return
        self.close_connection = True

    def do_GET(self) -> None:
        self.server.note_receiving(self.connection, is_receiving=False)
        self._send(*self.server.backend.answer(self.path, {}))

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > 18 or int(size) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, {"error": f"send at most {MAX_BODY_BYTES} bytes, and say how many"})
            return
        data = self.rfile.read(int(size))
        self.server.note_receiving(self.connection, is_receiving=False)
        if len(data) < int(size):  # the caller left
            self.close_connection = True
            return
        try:
            body = json.loads(data or b"{}")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self._send(400, {"error": "the body is not a JSON object"})
        elif is_deeper(body, MAX_DEPTH):
            self._send(400, {"error": f"the body is nested deeper than {MAX_DEPTH} levels"})
        else:
            self._send(*self.server.backend.answer(self.path, body))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        logger.info(format, *args)


def is_deeper(value: object, levels: int) -> bool:
    """Returns whether objects and arrays are nested deeper than so many levels."""
    row = [value]
    for _ in range(levels):
        row = [
            inner
            for one in row
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not row:
            return False
    return True
