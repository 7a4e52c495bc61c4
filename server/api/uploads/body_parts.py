"""A multipart body that comes in pieces -> the heads and the content of its parts (RFC 2046, 5.1).

What stands before the first delimiter and after the last one is passed over, and blanks may follow
a delimiter on its line, as the standard has it.
"""

import re
from collections.abc import Callable

from server.errors import MalformedRequest

MAX_BOUNDARY_BYTES = 256
MAX_HEAD_BYTES = 16 * 1024
"""Of a part's headers; those of a form name it and hold little else."""

Headers = dict[bytes, bytes]
"""Name in lower case -> value."""

_CRLF = b"\r\n"
_CLOSING = b"--"
_LINE_END = re.compile(rb"--|[ \t]*\r\n")
_LINE_SO_FAR = re.compile(rb"-|[ \t]*\r?")
_FOLD = re.compile(rb"\r\n[ \t]+")
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BodyParts:
    """Cuts a body at its boundary; holds no more of it than a piece and a part's head.

    Attributes:
        is_complete: the closing delimiter has come.
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
            MalformedRequest: the boundary is none.
        """
        if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
            raise MalformedRequest("the multipart boundary is not valid")
        self._delimiter = _CRLF + b"--" + boundary
        self._begin, self._add = begin, add
        # The first delimiter may begin the body: then there is no line before it to end.
        self._held = _CRLF
        self._from = 0  # in what is held: where content begins that was not passed on
        self._at = 0  # where to look on
        self._step: Callable[[], bool] = self._seek
        self._is_in_part = False
        self.is_complete = False

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            MalformedRequest: a part's head cannot be read.
        """
        if self.is_complete:
            return
        self._held += chunk
        while self._step():
            pass
        self._held, self._at = self._held[self._from :], self._at - self._from
        self._from = 0

    def _seek(self) -> bool:
        """Looks for what may be a delimiter."""
        found = self._held.find(self._delimiter, self._at)
        if found < 0:
            # What may be the beginning of one waits for the bytes after it.
            self._pass_on(max(self._from, len(self._held) - len(self._delimiter) + 1))
            self._at = self._from
            return False
        self._at = found + len(self._delimiter)
        self._step = self._end_line
        return True

    def _end_line(self) -> bool:
        """Looks at the rest of a delimiter's line; with anything else on it, it is content."""
        line = _LINE_END.match(self._held, self._at)
        is_short = len(self._held) - self._at <= MAX_HEAD_BYTES
        is_open = line is None and is_short and _LINE_SO_FAR.fullmatch(self._held, self._at)
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
        self._from = self._at = line.end() - len(_CRLF)
        self._step = self._read_head
        return True

    def _read_head(self) -> bool:
        """Reads a part's headers, between the CRLF of the delimiter's line and an empty line."""
        end = self._held.find(2 * _CRLF, self._from)
        if (len(self._held) if end < 0 else end) - self._from > MAX_HEAD_BYTES:
            raise MalformedRequest(f"a part's headers are longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            return False
        self._begin(_headers(self._held[self._from + len(_CRLF) : end]))
        self._from = self._at = end + 2 * len(_CRLF)
        self._step, self._is_in_part = self._seek, True
        return True

    def _pass_on(self, end: int) -> None:
        if self._is_in_part and end > self._from:
            self._add(self._held[self._from : end])
        self._from = end


def _headers(head: bytes) -> Headers:
    headers: Headers = {}
    for line in _FOLD.sub(b" ", head).split(_CRLF) if head else ():
        name, colon, value = line.partition(b":")
        if not (colon and _FIELD_NAME.fullmatch(name)):
            raise MalformedRequest("a part of the multipart body has headers that are none")
        headers[name.lower()] = value.strip(b" \t")
    return headers
