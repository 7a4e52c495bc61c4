"""JSON logs on stderr, each line with the request id and trace id it belongs to."""

import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from server.telemetry.tracing import trace_id

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current request, if any."""

notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)
"""Extra fields for the current request's log line."""

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request id, and any `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        if trace := trace_id():
            line["trace_id"] = trace
        line |= {key: value for key, value in record.__dict__.items() if key not in _PLAIN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TracebackLimit(logging.Filter):
    """Lets one traceback of a kind through in a while, and says how many were left out since.

    A fault that comes thousands of times in a second, such as a lack of descriptors at the accept
    loop, must not fill the disk with its log. Kinds differ by logger, exception and line.
    """

    def __init__(
        self, every_s: float = 10.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._every_s, self._clock = every_s, clock
        self._next: dict[object, float] = {}
        self._left_out: Counter[object] = Counter()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the line is written; lines without a traceback always are."""
        if not record.exc_info or record.exc_info[0] is None:
            return True
        cls, _, traceback = record.exc_info
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        line = traceback and (traceback.tb_frame.f_code, traceback.tb_lineno)
        kind = record.name, cls, line
        with self._lock:
            now_s = self._clock()
            if now_s < self._next.get(kind, now_s):
                self._left_out[kind] += 1
                return False
            self._next[kind] = now_s + self._every_s
            if left_out := self._left_out.pop(kind, 0):
                record.left_out = left_out
        return True


def current_request() -> str:
    """Returns the id of the current request."""
    return request_id.get() or "unknown"


def note(**facts: Any) -> None:
    """Adds fields to the current request's log line, if there is a request."""
    current = notes.get()
    if current is not None:
        current.update(facts)


def configure(level: str) -> None:
    """Sends every log line to stderr as JSON; called by commands, never at import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(TracebackLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The middleware logs requests; uvicorn's access log would repeat them without their id.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn.error", "asyncio", "faiss.loader"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
