"""Bounds on JSON from callers, checked on its bytes before any value is built from them.

Bytes are counted as they come, so that text beyond a bound is refused before all of it is in
memory. What a string holds counts like structure: an upper bound costs no parsing.
"""

import re

from server.errors import FieldInvalid

MAX_DEPTH = 16
"""Levels of nesting; the deepest request body has five."""

MAX_MEMBERS = 4096
"""Members of all objects together."""

MAX_CONTAINERS = 16_384
"""Lists and objects; a job's segments in the largest options are fewer."""

MAX_VALUES = 65_536
"""Values of every kind, unless a reader says otherwise."""

_STRUCTURE = b'[]{}"\\'
_OTHER = bytes(set(range(256)) - set(_STRUCTURE))
_QUOTED = re.compile(rb'"[^"]*"')
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


class JsonBounds:
    """Counts of one JSON text that is received in pieces."""

    def __init__(
        self,
        where: str = "",
        *,
        max_values: int = MAX_VALUES,
        max_members: int = MAX_MEMBERS,
        max_containers: int = MAX_CONTAINERS,
    ) -> None:
        """Starts with nothing counted.

        Args:
            where: JSON pointer for errors.
            max_values: most values of every kind.
            max_members: most members of all objects together.
            max_containers: most lists and objects.
        """
        self._where, self._max_values = where, max_values
        self._max_members, self._max_containers = max_members, max_containers
        self._members = self._opened = self._closed = self._commas = self._quotes = 0

    def add(self, piece: bytes | bytearray | memoryview) -> None:
        """Counts the next bytes.

        Raises:
            FieldInvalid: the text has more values, members or containers than its bounds.
        """
        piece = bytes(piece)
        self._members += piece.count(b":")
        self._opened += piece.count(b"[") + piece.count(b"{")
        self._closed += piece.count(b"]") + piece.count(b"}")
        self._commas += piece.count(b",")
        self._quotes += piece.count(b'"') + piece.count(b"\\")
        self._check(self._members, self._max_members, "members of objects")
        opened = max(self._opened, self._closed)
        self._check(opened, self._max_containers, "lists and objects")
        values = max(self._commas + self._opened, self._quotes // 4)
        self._check(values, self._max_values, "values")

    def check_depth(self, text: bytes) -> None:
        """Checks the nesting of the whole text, which has been counted.

        Raises:
            FieldInvalid: it is nested more deeply than `MAX_DEPTH`.
        """
        if self._opened <= MAX_DEPTH:
            return
        depth = deepest = 0
        for byte in _structure(text):
            depth += 1 if byte in b"[{" else -1
            deepest = max(deepest, depth)
        self._check(deepest, MAX_DEPTH, "levels of nesting")

    def _check(self, count: int, limit: int, what: str) -> None:
        if count > limit:
            raise FieldInvalid((self._where, f"expected at most {limit} {what} in the JSON"))


def _structure(text: bytes) -> bytes:
    """Returns the brackets and braces outside strings."""
    if b"\\" in text:
        text = _ESCAPE.sub(b"", text)
    return _QUOTED.sub(b"", text.translate(None, _OTHER)).translate(None, b'"\\')
