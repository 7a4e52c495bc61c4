"""A multipart body, part by part: the clip to the spool, the choices to memory.

The only home of python_multipart.
"""

from typing import Literal

import python_multipart.multipart as wire

from server.api.uploads.body_parts import BodyParts, Headers
from server.errors import FieldInvalid, MalformedRequest
from server.spool_file import SpoolFile

MAX_OPTIONS_BYTES = 64 * 1024
"""Size of the JSON part; its fields are small."""

BodyKind = Literal["video", "features"]
"""What the body, or its one large part, holds."""


class MultipartBody:
    """A form: `video` or `features` goes to the file, `request` is kept."""

    def __init__(self, file: SpoolFile, boundary: bytes, kinds: tuple[BodyKind, ...]) -> None:
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
        self._body = BodyParts(boundary, self._begin_part, self._add)

    @property
    def kind(self) -> BodyKind:
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
        self._body.feed(chunk)

    def finish(self) -> None:
        """Looks at the form as a whole.

        Raises:
            MalformedRequest: it ends too early.
            FieldInvalid: the large part is missing.
        """
        if not self._body.is_complete:
            raise MalformedRequest("the multipart body ends before its closing boundary")
        if self._seen.isdisjoint(self._kinds):
            raise FieldInvalid((f"/{self._kinds[0]}", "this part is missing"))

    def _begin_part(self, headers: Headers) -> None:
        _, options = wire.parse_options_header(headers.get(b"content-disposition", b""))
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

    def _add(self, data: bytes) -> None:
        if self._part in self._kinds:
            self._file.add(data)
            return
        self._options.extend(data)
        if len(self._options) > MAX_OPTIONS_BYTES:
            raise FieldInvalid(("/request", f"larger than {MAX_OPTIONS_BYTES} bytes"))


def media_type(content_type: str) -> tuple[str, bytes | None]:
    """Returns a content type in lower case, without its parameters, and its boundary if any."""
    kind, options = wire.parse_options_header(content_type)
    return kind.decode("latin-1").lower(), options.get(b"boundary")
