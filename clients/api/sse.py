"""Server-sent events: an incremental parser (WHATWG HTML, section 9.2)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class ServerEvent:
    """One event.

    Attributes:
        name: type of the event.
        data: its payload.
        id: to resume the stream after; empty if it has none.
    """

    name: str
    data: str
    id: str = ""


class EventReader:
    """Parses chunks of bytes into events, wherever the chunks end.

    Not `httpx.Response.iter_lines`: `str.splitlines` also splits at U+2028 and others, which may
    stand in JSON.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yields the events that a chunk completes."""
        self._rest += chunk
        # A carriage return at the end may be half of a line end.
        held = b"\r" if self._rest.endswith(b"\r") else b""
        *lines, self._rest = _LINE_END.split(self._rest.removesuffix(held))
        self._rest += held
        for line in lines:
            if (event := self._take(line.decode("utf-8", "replace"))) is not None:
                yield event

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None  # a line that begins with a colon is a keep-alive comment

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return ServerEvent(name, "\n".join(data), self._id) if data else None
