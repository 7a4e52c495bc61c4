"""Request bodies by content type: raw video or features, multipart form, small in-memory body.

The only module that imports python_multipart.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import python_multipart.multipart as wire
from starlette.requests import Request

from server.api.uploads.body_parts import BodyParts, Headers
from server.api.uploads.spool import SpoolFile
from server.errors import BodyTooLarge, FieldInvalid, MalformedRequest, UnsupportedMedia
from server.schemas.options import MAX_OPTIONS_BYTES

SAFETENSORS = "application/x-safetensors"
"""Content type of a feature track."""

BodyKind = Literal["video", "features"]
"""What the body, or its one large part, holds."""


@dataclass(frozen=True)
class SizeLimit:
    """Most bytes of a body, or of its large part, and why; without any, all are taken."""

    max_bytes: int | None = None
    reason: str = ""

    def check(self, size_bytes: int) -> None:
        """Raises if there are more bytes.

        Raises:
            BodyTooLarge: there are.
        """
        if self.max_bytes is not None and size_bytes > self.max_bytes:
            raise BodyTooLarge(f"larger than {self.max_bytes} bytes, {self.reason}")


class BodyReader(ABC):
    """Parses a body as it is received; what belongs on disk goes to a file."""

    @abstractmethod
    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""

    def finish(self) -> None:  # noqa: B027
        """Checks that the body is complete; a plain body always is."""


class RawBody(BodyReader):
    """A body that is the clip, or its features."""

    options = None

    def __init__(self, file: SpoolFile, kind: BodyKind, limit: SizeLimit) -> None:
        self.kind = kind
        self._file, self._limit = file, limit

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            BodyTooLarge: more than the limit.
        """
        self._limit.check(self._file.size_bytes + len(chunk))
        self._file.add(chunk)


class MemoryBody(BodyReader):
    """A body small enough for memory."""

    def __init__(self, max_bytes: int) -> None:
        self.data = bytearray()
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self.data += chunk
        if len(self.data) > self._max_bytes:
            raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")


class MultipartBody(BodyReader):
    """A form: the part `video` or `features` goes to the file, `request` to memory."""

    def __init__(
        self,
        file: SpoolFile,
        boundary: bytes,
        kinds: tuple[BodyKind, ...],
        features_limit: SizeLimit,
    ) -> None:
        """Prepares to read one form.

        Args:
            file: takes the large part.
            boundary: between parts, as the content type names it.
            kinds: names that the large part may have; exactly one is sent.
            features_limit: most bytes of the part `features`.

        Raises:
            MalformedRequest: the boundary is invalid.
        """
        self._file = file
        self._kinds: tuple[str, ...] = kinds
        self._features_limit = features_limit
        self._options = bytearray()
        self._seen: set[str] = set()
        self._part = ""
        self._body = BodyParts(boundary, self._begin_part, self._add)

    @property
    def kind(self) -> BodyKind:
        """Name of the large part that was sent."""
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
            BodyTooLarge: the part `features` has more bytes than its limit.
        """
        self._body.feed(chunk)

    def finish(self) -> None:
        """Checks that the form is complete.

        Raises:
            MalformedRequest: the closing boundary is missing.
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
            if self._part == "features":
                self._features_limit.check(self._file.size_bytes + len(data))
            self._file.add(data)
            return
        self._options.extend(data)
        if len(self._options) > MAX_OPTIONS_BYTES:
            raise FieldInvalid(("/request", f"larger than {MAX_OPTIONS_BYTES} bytes"))


def media_type(content_type: str) -> tuple[str, bytes | None]:
    """Returns a content type in lower case, without its parameters, and its boundary if any."""
    kind, options = wire.parse_options_header(content_type)
    return kind.decode("latin-1").lower(), options.get(b"boundary")


def clip_body(
    request: Request, kinds: tuple[BodyKind, ...], features_limit: Callable[[], SizeLimit]
) -> Callable[[SpoolFile], RawBody | MultipartBody]:
    """Returns what makes the reader of a body that is, or holds, a clip or its features.

    Args:
        request: its content type decides.
        kinds: what the endpoint accepts.
        features_limit: returns the most bytes of features; called when the reader is made.

    Raises:
        UnsupportedMedia: the endpoint does not accept the content type.
        MalformedRequest: the content type of a form names no boundary.
    """
    kind, boundary = media_type(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        if not boundary:
            raise MalformedRequest("the content type names no multipart boundary")
        return lambda file: MultipartBody(file, boundary, kinds, features_limit())
    if kind.startswith("video/") or kind == "application/octet-stream":
        return lambda file: RawBody(file, "video", SizeLimit())
    if kind == SAFETENSORS and "features" in kinds:
        return lambda file: RawBody(file, "features", features_limit())
    features = f", {SAFETENSORS}" if "features" in kinds else ""
    raise UnsupportedMedia(
        f"send multipart/form-data, video/*{features} or application/octet-stream "
        "as the content type"
    )
