"""A multipart body, part by part: the clip to the spool, the choices to memory.

The only home of python_multipart.
"""

from collections.abc import Callable
from typing import Literal

import python_multipart.multipart as wire
from python_multipart.exceptions import FormParserError

from server.errors import FieldInvalid, MalformedRequest
from server.spool_file import SpoolFile

MAX_OPTIONS_BYTES = 64 * 1024
"""Size of the JSON part; its fields are small."""

Kind = Literal["video", "features"]
"""What the body, or its one large part, holds."""


class Parts:
    """A form: `video` or `features` goes to the file, `request` is kept."""

    def __init__(self, file: SpoolFile, boundary: bytes, kinds: tuple[Kind, ...]) -> None:
        """Prepares to read one form.

        Args:
            file: takes the large part.
            boundary: between parts, as the content type names it.
            kinds: what the large part may be; exactly one is sent.

        Raises:
            MalformedRequest: the boundary is none.
        """
        self._file = file
        self._kinds: tuple[str, ...] = kinds
        self._options = bytearray()
        self._seen: set[str] = set()
        self._part = ""
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._is_complete = False
        callbacks: wire.MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._take(self._header),
            "on_header_value": self._take(self._value),
            "on_header_end": self._end_header,
            "on_headers_finished": self._name_part,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        try:
            self._parser = wire.MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise MalformedRequest("the multipart boundary is not valid") from error

    @property
    def kind(self) -> Kind:
        """What the large part was."""
        return "features" if "features" in self._seen else "video"

    @property
    def options(self) -> bytes | None:
        """The JSON part, if one was sent."""
        return bytes(self._options) if "request" in self._seen else None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            MalformedRequest: they are not multipart.
            FieldInvalid: a part is unknown, repeated or too large.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest("the body is not valid multipart") from error

    def finish(self) -> None:
        """Looks at the form as a whole.

        Raises:
            MalformedRequest: it ends too early.
            FieldInvalid: the large part is missing.
        """
        if not self._is_complete:
            raise MalformedRequest("the multipart body ends before its closing boundary")
        if self._seen.isdisjoint(self._kinds):
            raise FieldInvalid((f"/{self._kinds[0]}", "this part is missing"))

    @staticmethod
    def _take(target: bytearray) -> Callable[[bytes, int, int], None]:
        def take(data: bytes, start: int, end: int) -> None:
            target.extend(data[start:end])

        return take

    def _begin_part(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _name_part(self) -> None:
        _, options = wire.parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        known = (*self._kinds, "request")
        if self._part not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise FieldInvalid((f"/{self._part[:64]}", f"unknown part; known are {names}"))
        if self._part in self._seen:
            raise FieldInvalid((f"/{self._part}", "this part was sent twice"))
        if self._part in self._kinds and not self._seen.isdisjoint(self._kinds):
            raise FieldInvalid((f"/{self._part}", "send a clip or its features, not both"))
        self._seen.add(self._part)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part in self._kinds:
            self._file.add(data[start:end])
            return
        self._options.extend(data[start:end])
        if len(self._options) > MAX_OPTIONS_BYTES:
            raise FieldInvalid(("/request", f"larger than {MAX_OPTIONS_BYTES} bytes"))

    def _end(self) -> None:
        self._is_complete = True


def media_type(content_type: str) -> tuple[str, bytes | None]:
    """Returns a content type in lower case, without its parameters, and its boundary if any."""
    kind, options = wire.parse_options_header(content_type)
    return kind.decode("latin-1").lower(), options.get(b"boundary")
