"""Upload receiver: a request body -> a size-limited file in the spool, removed after the request.

It checks sizes and content types; whether a file is a video is found out by the decoder.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request

from server.api.negotiation import parse_length
from server.api.uploads.bodies import BodyKind, BodyReader, MemoryBody, clip_body
from server.api.uploads.spool import DiskQuota, SpoolDirectory, SpoolFile
from server.errors import (
    BodyTooLarge,
    CallerGone,
    DeadlineExceeded,
    MalformedRequest,
    UnsupportedMedia,
)
from server.telemetry.telemetry import Telemetry

Reader = TypeVar("Reader", bound=BodyReader)


@dataclass(frozen=True)
class Upload:
    """A body that has been received.

    Attributes:
        path: the clip, or its features.
        size_bytes: size of the file.
        kind: which of the two.
        options: the JSON part, if one was sent.
    """

    path: Path
    size_bytes: int
    kind: BodyKind
    options: bytes | None


class UploadReceiver:
    """A private spool directory for request bodies; it is removed with the server."""

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
            parent: where the directory is made.
            max_bytes: of one body.
            timeout_s: longest time in which a body is received.
            quota: of all bodies together; default: none.
            telemetry: where received bodies are reported.
        """
        self.directory = SpoolDirectory(parent)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self.quota = quota or DiskQuota(None)
        self._telemetry = telemetry or Telemetry()
        self._telemetry.metrics.read(self._telemetry.metrics.spool_bytes, lambda: self.quota.held)

    @asynccontextmanager
    async def receive(
        self, request: Request, kinds: tuple[BodyKind, ...] = ("video",)
    ) -> AsyncIterator[Upload]:
        """Yields the body once it is on disk, and removes it afterwards.

        Args:
            request: whose body has not been read.
            kinds: what the endpoint accepts.

        Raises:
            UnsupportedMedia: the endpoint does not accept the content type.
            FieldInvalid: the multipart has unknown, repeated or missing parts.
            MalformedRequest, BodyTooLarge, DeadlineExceeded, CallerGone: as `hold` does.
        """
        make = clip_body(request, kinds)
        async with self.hold(request, make) as (path, size_bytes, body):
            if size_bytes == 0:
                raise MalformedRequest(f"the body holds no {body.kind} bytes")
            yield Upload(path, size_bytes, body.kind, body.options)

    async def read(self, request: Request, *, max_bytes: int) -> bytes:
        """Returns a small body.

        Raises:
            MalformedRequest, BodyTooLarge, DeadlineExceeded, CallerGone: as `hold` does.
        """
        async with self.hold(request, lambda _: MemoryBody(max_bytes)) as (_, _, body):
            return bytes(body.data)

    @asynccontextmanager
    async def hold(
        self, request: Request, make: Callable[[SpoolFile], Reader]
    ) -> AsyncIterator[tuple[Path, int, Reader]]:
        """Yields the file, its size and the reader once the whole body has been received.

        Args:
            request: whose body has not been read.
            make: returns the reader that decides what goes to the file.

        Raises:
            UnsupportedMedia: the body is compressed.
            MalformedRequest: the body does not match its content type.
            BodyTooLarge: more bytes than the limit were sent.
            QueueFull: the spool has no room; before the body is read, if its size was declared.
            DeadlineExceeded: the body took too long.
            CallerGone: the client disconnected.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("send the body without a content encoding")
        # A random name: the client's file name reaches neither the disk nor a decoder.
        path = self.directory.path / uuid4().hex
        started_s = time.perf_counter()
        try:
            with self.quota.reserve() as grow_to:
                declared = request.headers.get("content-length", "")
                grow_to(parse_length(declared) or 0)
                with SpoolFile(path) as file:
                    reader = make(file)
                    async with asyncio.timeout(self._timeout_s):
                        await self._pump(request, reader, file, grow_to)
                    reader.finish()
                self._telemetry.stage("receive", time.perf_counter() - started_s)
                yield path, file.size_bytes, reader
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body took over {self._timeout_s:g} s to arrive") from error
        except ClientDisconnect as error:
            raise CallerGone from error
        finally:
            path.unlink(missing_ok=True)

    async def _pump(
        self, request: Request, reader: BodyReader, file: SpoolFile, grow_to: Callable[[int], None]
    ) -> None:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            self._telemetry.metrics.received_bytes.inc(len(chunk))
            if received > self._max_bytes:
                raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")
            grow_to(received)
            reader.feed(chunk)
            await file.flush()
        await file.flush(least=1)
