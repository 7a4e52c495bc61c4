"""Request body -> bounded file in a private folder, gone again on every way out.

The only home of python_multipart. Knows sizes and parts, not what a video is.
"""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

import python_multipart.multipart as wire
from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect, Request

from server.errors import (
    BodyTooLarge,
    CallerGone,
    DeadlineExceeded,
    FieldInvalid,
    MalformedRequest,
    QueueFull,
    UnsupportedMedia,
)
from server.seen import Seen
from server.spool import Folder, Quota, Share

MAX_OPTIONS_BYTES = 64 * 1024
"""Size of the JSON part; its fields are small."""

FULL_DISK_S = 30
"""When to come back if the disk itself is full; clips that leave make room."""

FLUSH_BYTES = 1 << 20
"""Bytes gathered before a write, so that a clip costs a handful of hops to the disk thread."""


@dataclass(frozen=True)
class Upload:
    """A body that has arrived.

    Attributes:
        path: the clip.
        size_bytes: its length.
        options: the JSON part, if one was sent.
    """

    path: Path
    size_bytes: int
    options: bytes | None


class Spool:
    """A private folder for clips being answered; it disappears with the server."""

    def __init__(
        self,
        parent: Path | None,
        *,
        max_bytes: int,
        timeout_s: float,
        quota: Quota | None = None,
        seen: Seen | None = None,
    ) -> None:
        """Makes nothing before it is needed.

        Args:
            parent: where its folder is made.
            max_bytes: of one body.
            timeout_s: in which a body has to arrive.
            quota: of all bodies together; default: none.
            seen: where arrivals are reported.
        """
        self._folder = Folder(parent)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self.quota = quota or Quota(None)
        self._seen = seen or Seen()
        self._seen.metrics.read(self._seen.metrics.spool_bytes, lambda: self.quota.held)

    @property
    def folder(self) -> Path:
        """The folder, made with access for this user alone when first needed."""
        return self._folder.path

    def close(self) -> None:
        """Removes the folder and whatever is left in it."""
        self._folder.remove()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Yields the body once it is on disk, and removes it afterwards.

        Raises:
            UnsupportedMedia: the content type is none of the three taken.
            MalformedRequest: the body is empty or not the multipart it says it is.
            BodyTooLarge: more bytes than the limit came.
            QueueFull: the spool has no room; before the body is read, if its size was declared.
            FieldInvalid: the multipart has unknown, repeated or missing parts.
            DeadlineExceeded: the body took too long to arrive.
            CallerGone: the caller hung up.
        """
        boundary = _boundary(request.headers.get("content-type", ""))
        # The name is ours: what the caller calls the file never reaches the disk or a decoder.
        path = self.folder / uuid4().hex
        started_s = time.perf_counter()
        try:
            with self.quota.share() as share:
                declared = request.headers.get("content-length", "")
                share.grow_to(int(declared) if declared.isdecimal() else 0)
                with _SpoolFile(path) as file:
                    sink = _Raw(file) if boundary is None else _Parts(file, boundary)
                    async with asyncio.timeout(self._timeout_s):
                        await self._pump(request, sink, file, share)
                    options = sink.finish()
                if file.size_bytes == 0:
                    raise MalformedRequest("the body holds no video bytes")
                self._seen.stage("receive", time.perf_counter() - started_s)
                yield Upload(path, file.size_bytes, options)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body took over {self._timeout_s:g} s to arrive") from error
        except ClientDisconnect as error:
            raise CallerGone from error
        finally:
            path.unlink(missing_ok=True)

    async def _pump(
        self, request: Request, sink: "_Raw | _Parts", file: "_SpoolFile", share: Share
    ) -> None:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            self._seen.metrics.received_bytes.inc(len(chunk))
            if received > self._max_bytes:
                raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")
            share.grow_to(received)
            sink.feed(chunk)
            if file.pending_bytes >= FLUSH_BYTES:
                await asyncio.to_thread(file.flush)
        await asyncio.to_thread(file.flush)


class _SpoolFile:
    """Gathers bytes and writes them when told to, so that writing can happen off the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.pending_bytes = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, data: bytes) -> None:
        self._pending.append(data)
        self.pending_bytes += len(data)
        self.size_bytes += len(data)

    def flush(self) -> None:
        data, self._pending, self.pending_bytes = b"".join(self._pending), [], 0
        view = memoryview(data)
        try:
            while view and self._file is not None:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise QueueFull(FULL_DISK_S) from error


class _Raw:
    """The body is the clip."""

    def __init__(self, file: _SpoolFile) -> None:
        self._file = file

    def feed(self, chunk: bytes) -> None:
        self._file.add(chunk)

    def finish(self) -> bytes | None:
        return None


class _Parts:
    """The body is multipart: `video` goes to the file, `request` is kept."""

    def __init__(self, file: _SpoolFile, boundary: bytes) -> None:
        self._file = file
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

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest("the body is not valid multipart") from error

    def finish(self) -> bytes | None:
        if not self._is_complete:
            raise MalformedRequest("the multipart body ends before its closing boundary")
        if "video" not in self._seen:
            raise FieldInvalid(("/video", "this part is missing"))
        return bytes(self._options) if "request" in self._seen else None

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
        if self._part not in ("video", "request"):
            raise FieldInvalid((f"/{self._part[:64]}", "unknown part; send `video`, `request`"))
        if self._part in self._seen:
            raise FieldInvalid((f"/{self._part}", "this part was sent twice"))
        self._seen.add(self._part)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "video":
            self._file.add(data[start:end])
            return
        self._options.extend(data[start:end])
        if len(self._options) > MAX_OPTIONS_BYTES:
            raise FieldInvalid(("/request", f"larger than {MAX_OPTIONS_BYTES} bytes"))

    def _end(self) -> None:
        self._is_complete = True


def _boundary(content_type: str) -> bytes | None:
    """Returns the multipart boundary, or None for a raw body."""
    kind, options = wire.parse_options_header(content_type)
    if kind.startswith(b"video/") or kind == b"application/octet-stream":
        return None
    if kind != b"multipart/form-data":
        raise UnsupportedMedia(
            "send multipart/form-data, video/* or application/octet-stream as the content type"
        )
    if not options.get(b"boundary"):
        raise MalformedRequest("the content type names no multipart boundary")
    return options[b"boundary"]
