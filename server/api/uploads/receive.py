"""Request body -> bounded file in a private folder, gone again on every way out.

Knows sizes and content types, not what a video is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request

from server.api.uploads.bodies import BodyKind, MultipartBody, media_type
from server.api.uploads.spool import DiskQuota, Reservation, SpoolDirectory
from server.errors import (
    BodyTooLarge,
    CallerGone,
    DeadlineExceeded,
    MalformedRequest,
    UnsupportedMedia,
)
from server.spool_file import SpoolFile
from server.telemetry.telemetry import Telemetry

SAFETENSORS = "application/x-safetensors"
"""Content type of a feature track."""


class Sink(Protocol):
    """Takes a body as it comes; what belongs on disk goes to a file."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""

    def finish(self) -> None:
        """Hears that there are no more."""


S = TypeVar("S", bound=Sink)


@dataclass(frozen=True)
class Upload:
    """A body that has arrived.

    Attributes:
        path: the clip, or its features.
        size_bytes: its length.
        kind: which of the two.
        options: the JSON part, if one was sent.
    """

    path: Path
    size_bytes: int
    kind: BodyKind
    options: bytes | None


class UploadReceiver:
    """A private folder for clips being answered; it disappears with the server."""

    def __init__(
        self,
        parent: Path | None,
        *,
        max_bytes: int,
        timeout_s: float,
        quota: DiskQuota | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Makes nothing before it is needed.

        Args:
            parent: where its folder is made.
            max_bytes: of one body.
            timeout_s: in which a body has to arrive.
            quota: of all bodies together; default: none.
            telemetry: where arrivals are reported.
        """
        self._folder = SpoolDirectory(parent)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self.quota = quota or DiskQuota(None)
        self._telemetry = telemetry or Telemetry()
        self._telemetry.metrics.read(self._telemetry.metrics.spool_bytes, lambda: self.quota.held)

    @property
    def folder(self) -> Path:
        """The folder, made with access for this user alone when first needed."""
        return self._folder.path

    def close(self) -> None:
        """Removes the folder and whatever is left in it."""
        self._folder.remove()

    @asynccontextmanager
    async def receive(
        self, request: Request, kinds: tuple[BodyKind, ...] = ("video",)
    ) -> AsyncIterator[Upload]:
        """Yields the body once it is on disk, and removes it afterwards.

        Args:
            request: whose body has not been touched.
            kinds: what the endpoint takes.

        Raises:
            UnsupportedMedia: the content type is none that the endpoint takes.
            FieldInvalid: the multipart has unknown, repeated or missing parts.
            MalformedRequest, BodyTooLarge, DeadlineExceeded, CallerGone: as `hold` does.
        """
        make = _sink_for(request, kinds)
        async with self.hold(request, make) as (path, size_bytes, sink):
            if size_bytes == 0:
                raise MalformedRequest(f"the body holds no {sink.kind} bytes")
            yield Upload(path, size_bytes, sink.kind, sink.options)

    async def read(self, request: Request, *, max_bytes: int) -> bytes:
        """Returns a small body whole.

        Raises:
            MalformedRequest, BodyTooLarge, DeadlineExceeded, CallerGone: as `hold` does.
        """
        async with self.hold(request, lambda _: _Memory(max_bytes)) as (_, _, sink):
            return bytes(sink.data)

    @asynccontextmanager
    async def hold(
        self, request: Request, make: Callable[[SpoolFile], S]
    ) -> AsyncIterator[tuple[Path, int, S]]:
        """Yields the file, its size and the sink once the body is through it.

        Args:
            request: whose body has not been touched.
            make: returns the sink that decides what goes to the file.

        Raises:
            UnsupportedMedia: the body is compressed.
            MalformedRequest: the body is not what it says it is.
            BodyTooLarge: more bytes than the limit came.
            QueueFull: the spool has no room; before the body is read, if its size was declared.
            DeadlineExceeded: the body took too long to arrive.
            CallerGone: the caller hung up.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("send the body without a content encoding")
        # The name is ours: what the caller calls the file never reaches the disk or a decoder.
        path = self.folder / uuid4().hex
        started_s = time.perf_counter()
        try:
            with self.quota.share() as share:
                declared = request.headers.get("content-length", "")
                share.grow_to(int(declared) if declared.isdecimal() else 0)
                with SpoolFile(path) as file:
                    sink = make(file)
                    async with asyncio.timeout(self._timeout_s):
                        await self._pump(request, sink, file, share)
                    sink.finish()
                self._telemetry.stage("receive", time.perf_counter() - started_s)
                yield path, file.size_bytes, sink
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body took over {self._timeout_s:g} s to arrive") from error
        except ClientDisconnect as error:
            raise CallerGone from error
        finally:
            path.unlink(missing_ok=True)

    async def _pump(
        self, request: Request, sink: Sink, file: SpoolFile, share: Reservation
    ) -> None:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            self._telemetry.metrics.received_bytes.inc(len(chunk))
            if received > self._max_bytes:
                raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")
            share.grow_to(received)
            sink.feed(chunk)
            await file.settle()
        await file.settle(least=1)


class _Raw:
    """The body is the clip, or its features."""

    options = None

    def __init__(self, file: SpoolFile, kind: BodyKind) -> None:
        self._file = file
        self.kind = kind

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._file.add(chunk)

    def finish(self) -> None:
        """Everything was taken."""


class _Memory:
    """The body is small enough to keep."""

    def __init__(self, max_bytes: int) -> None:
        self.data = bytearray()
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self.data += chunk
        if len(self.data) > self._max_bytes:
            raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")

    def finish(self) -> None:
        """Everything was taken."""


def _sink_for(
    request: Request, kinds: tuple[BodyKind, ...]
) -> Callable[[SpoolFile], _Raw | MultipartBody]:
    """Returns what takes the body, as its content type says."""
    kind, boundary = media_type(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        if not boundary:
            raise MalformedRequest("the content type names no multipart boundary")
        return lambda file: MultipartBody(file, boundary, kinds)
    if kind.startswith("video/") or kind == "application/octet-stream":
        return lambda file: _Raw(file, "video")
    if kind == SAFETENSORS and "features" in kinds:
        return lambda file: _Raw(file, "features")
    features = f", {SAFETENSORS}" if "features" in kinds else ""
    raise UnsupportedMedia(
        f"send multipart/form-data, video/*{features} or application/octet-stream "
        "as the content type"
    )
