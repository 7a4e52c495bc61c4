"""Incremental multipart parser (RFC 2046, section 5.1): chunks -> headers and content of parts.

Preamble and epilogue are skipped, and blanks after a delimiter accepted, as the standard says.
"""

import re
from collections.abc import Callable

from server.errors import MalformedRequest

MAX_BOUNDARY_BYTES = 256
MAX_HEAD_BYTES = 16 * 1024
"""Size limit of a part's headers; those of a form hold little but its name."""

Headers = dict[bytes, bytes]
"""Name in lower case -> value."""

_CRLF = b"\r\n"
_CLOSING = b"--"
_LINE_END = re.compile(rb"--|[ \t]*\r\n")
_LINE_SO_FAR = re.compile(rb"-|[ \t]*\r?")
_FOLD = re.compile(rb"\r\n[ \t]+")
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BodyParts:
    """Splits a body at its boundary; buffers at most a chunk and a part's headers.

    Attributes:
        is_complete: the closing delimiter has been read.
    """

    def __init__(
        self,
        boundary: bytes,
        begin: Callable[[Headers], None],
        add: Callable[[bytes], None],
    ) -> None:
        """Prepares to read one body.

        Args:
            boundary: between parts, as the content type names it.
            begin: called with the headers of a part.
            add: called with the next bytes of that part.

        Raises:
            MalformedRequest: the boundary is invalid.
        """
        if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
            raise MalformedRequest("the multipart boundary is not valid")
        self._delimiter = _CRLF + b"--" + boundary
        self._begin, self._add = begin, add
        # The first delimiter may begin the body, without a line before it.
        self._buffer = _CRLF
        self._start = 0  # offset in the buffer of content not passed on yet
        self._at = 0  # offset where the search continues
        self._step: Callable[[], bool] = self._seek
        self._is_in_part = False
        self.is_complete = False

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            MalformedRequest: a part's headers are invalid.
        """
        if self.is_complete:
            return
        self._buffer += chunk
        while self._step():
            pass
        self._buffer, self._at = self._buffer[self._start :], self._at - self._start
        self._start = 0

    def _seek(self) -> bool:
        """Searches for a delimiter."""
        found = self._buffer.find(self._delimiter, self._at)
        if found < 0:
            # A possible beginning of one stays in the buffer.
            self._pass_on(max(self._start, len(self._buffer) - len(self._delimiter) + 1))
            self._at = self._start
            return False
        self._at = found + len(self._delimiter)
        self._step = self._end_line
        return True

    def _end_line(self) -> bool:
        """Checks the rest of a delimiter's line; if anything else is on it, it is content."""
        line = _LINE_END.match(self._buffer, self._at)
        is_short = len(self._buffer) - self._at <= MAX_HEAD_BYTES
        is_open = line is None and is_short and _LINE_SO_FAR.fullmatch(self._buffer, self._at)
        if line is None and not is_open:
            self._step = self._seek
            return True
        self._pass_on(self._at - len(self._delimiter))
        if line is None:
            return False  # the next bytes decide
        self._is_in_part = False
        if line.group() == _CLOSING:
            self.is_complete = True
            return False
        self._start = self._at = line.end() - len(_CRLF)
        self._step = self._read_head
        return True

    def _read_head(self) -> bool:
        """Reads a part's headers, between the CRLF of the delimiter's line and an empty line."""
        end = self._buffer.find(2 * _CRLF, self._start)
        if (len(self._buffer) if end < 0 else end) - self._start > MAX_HEAD_BYTES:
            raise MalformedRequest(f"a part's headers are longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            return False
        self._begin(_headers(self._buffer[self._start + len(_CRLF) : end]))
        self._start = self._at = end + 2 * len(_CRLF)
        self._step, self._is_in_part = self._seek, True
        return True

    def _pass_on(self, end: int) -> None:
        if self._is_in_part and end > self._start:
            self._add(self._buffer[self._start : end])
        self._start = end


def _headers(head: bytes) -> Headers:
    headers: Headers = {}
    for line in _FOLD.sub(b" ", head).split(_CRLF) if head else ():
        name, colon, value = line.partition(b":")
        if not (colon and _FIELD_NAME.fullmatch(name)):
            raise MalformedRequest("a part of the multipart body has invalid headers")
        headers[name.lower()] = value.strip(b" \t")
    return headers
