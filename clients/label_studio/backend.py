"""HTTP server with Label Studio's machine learning backend API."""

import json
import logging
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from clients.api.requests import Choices
from clients.client import EgoPackClient
from clients.errors import ClientError
from clients.label_studio.clips import Clips
from clients.label_studio.interface import Interface

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 2**20
"""Of a request; tasks contain their annotations, but not their clips."""

SILENCE_S = 60.0
"""Socket timeout: longest time without a byte from a caller."""

NOTHING: dict[str, Any] = {"result": [], "score": 0.0}
"""The prediction for a task that failed; the other tasks get theirs."""


class Backend:
    """Handles Label Studio's requests.

    Args:
        client: of the server that predicts.
        clips: fetches the clips of tasks.
        choices: request options of every prediction.
    """

    def __init__(self, client: EgoPackClient, clips: Clips, choices: Choices) -> None:
        self._client, self._clips, self._choices = client, clips, choices

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
                case "/webhook" | "/train":  # accepted and ignored: there is no online training
                    return 201, {}
                case _:
                    return 404, {"error": "there is nothing here"}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}
        except ClientError as error:
            return 503, {"error": f"the EgoPack server: {error}"}

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
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: BackendServer
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S

    def do_GET(self) -> None:
        self._send(*self.server.backend.answer(self.path, {}))

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, {"error": f"send at most {MAX_BODY_BYTES} bytes, and say how many"})
            return
        try:
            body = json.loads(self.rfile.read(int(size)) or b"{}")
        except ValueError:
            body = None
        if isinstance(body, dict):
            self._send(*self.server.backend.answer(self.path, body))
        else:
            self._send(400, {"error": "the body is not a JSON object"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        logger.info(format, *args)
