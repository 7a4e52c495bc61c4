"""Log lines as JSON on stderr, each carrying the request it belongs to."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any

from server.telemetry.tracing import trace_id

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request being answered in this task, if any."""

notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)
"""What the log line of the request being answered will say besides."""

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


def current_request() -> str:
    """Returns the id of the current request."""
    return request_id.get() or "unknown"


def note(**facts: Any) -> None:
    """Adds facts to the log line of the request being answered, if there is one."""
    current = notes.get()
    if current is not None:
        current.update(facts)


def configure(level: str) -> None:
    """Sends every log line to stderr as JSON; called by the command, never at import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line a request is ours to write; uvicorn's would be a second one without the id.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("uvicorn.error", "asyncio", "faiss.loader"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))
