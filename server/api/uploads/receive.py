"""Upload receiver: a request body -> a size-limited file in the spool, removed after the request.

It checks sizes and content types; whether a file is a video is found out by the decoder.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from server.api.access import rate_limit_key
from server.api.middleware import CALLER
from server.api.negotiation import parse_length
from server.api.uploads.bodies import BodyKind, BodyReader, SizeLimit, clip_body
from server.api.uploads.pace import Pace, PacedBody
from server.api.uploads.spool import SpoolDirectory, SpoolFile
from server.errors import (
    BodyTooLarge,
    CallerGone,
    DeadlineExceeded,
    MalformedRequest,
    UnsupportedMedia,
)
from server.telemetry.telemetry import Telemetry

Reader = TypeVar("Reader", bound=BodyReader)

Reserve = Callable[[str, int], AbstractAsyncContextManager[Callable[[int], None]]]
"""Takes whose share is counted and the declared size of a body, and holds its place and room.

It yields what grows the room to a size; both raise QueueFull.
"""


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
        pace: Pace,
        reserve: Reserve,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Makes nothing before it is needed.

        Args:
            parent: where the directory is made.
            max_bytes: of one body.
            timeout_s: longest time in which a body is received.
            pace: of the slowest body.
            reserve: holds the place and the room of a body.
            telemetry: where received bodies are reported.
        """
        self.directory = SpoolDirectory(parent)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._pace = pace
        self._reserve = reserve
        self._telemetry = telemetry or Telemetry()

    @asynccontextmanager
    async def receive(
        self,
        request: Request,
        kinds: tuple[BodyKind, ...] = ("video",),
        *,
        features_limit: Callable[[], SizeLimit] = lambda: SizeLimit(),
    ) -> AsyncIterator[Upload]:
        """Yields the body once it is on disk, and removes it afterwards.

        Args:
            request: whose body has not been read.
            kinds: what the endpoint accepts.
            features_limit: returns the most bytes of features; called once a place is held.

        Raises:
            UnsupportedMedia: the endpoint does not accept the content type.
            FieldInvalid: the multipart has unknown, repeated or missing parts.
            MalformedRequest, BodyTooLarge, DeadlineExceeded, CallerGone: as `hold` does.
        """
        make = clip_body(request, kinds, features_limit)
        async with self.hold(request, make) as (path, size_bytes, body):
            if size_bytes == 0:
                raise MalformedRequest(f"the body holds no {body.kind} bytes")
            yield Upload(path, size_bytes, body.kind, body.options)

    @asynccontextmanager
    async def hold(
        self, request: Request, make: Callable[[SpoolFile], Reader]
    ) -> AsyncIterator[tuple[Path, int, Reader]]:
        """Yields the file, its size and the reader once the whole body has been received.

        The place and the room are looked for before the body is asked for, and taken when its
        first bytes are there: a caller that sends nothing holds nothing.

        Args:
            request: whose body has not been read.
            make: returns the reader that decides what goes to the file.

        Raises:
            UnsupportedMedia: the body is compressed.
            MalformedRequest: the body does not match its content type.
            BodyTooLarge: more bytes than the limit were sent.
            QueueFull: no place or no room; before the body is read, if its size was declared.
            StorageUnavailable: the spool cannot be written.
            DeadlineExceeded: the body took too long, or came too slowly.
            CallerGone: the client disconnected.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("send the body without a content encoding")
        started_s = time.perf_counter()
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        caller = holder_of(request)
        declared = parse_length(request.headers.get("content-length", "")) or 0
        body = PacedBody(request.stream(), self._pace)
        async with self._reserve(caller, declared):
            pass
        async with self._receiving(deadline_s):
            first = await body.next()
        async with self._reserve(caller, declared) as grow_to:
            file = await asyncio.to_thread(SpoolFile, self.directory)
            try:
                with file:
                    reader = make(file)
                    async with self._receiving(deadline_s):
                        await self._pump(first, body, reader, file, grow_to)
                    reader.finish()
                self._telemetry.stage("receive", time.perf_counter() - started_s)
                yield file.path, file.size_bytes, reader
            finally:
                await file.remove()

    @asynccontextmanager
    async def _receiving(self, deadline_s: float) -> AsyncIterator[None]:
        """Bounds the time of receiving, and names what ends it."""
        try:
            async with asyncio.timeout_at(deadline_s):
                yield
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body took over {self._timeout_s:g} s to arrive") from error
        except ClientDisconnect as error:
            raise CallerGone from error

    async def _pump(
        self,
        chunk: bytes | None,
        body: PacedBody,
        reader: BodyReader,
        file: SpoolFile,
        grow_to: Callable[[int], None],
    ) -> None:
        received = 0
        while chunk is not None:
            received += len(chunk)
            self._telemetry.metrics.received_bytes.inc(len(chunk))
            if received > self._max_bytes:
                raise BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")
            grow_to(received)
            reader.feed(chunk)
            await file.flush()
            chunk = await body.next()
        await file.flush(least=1)


def holder_of(request: HTTPConnection) -> str:
    """Returns whose share of places a request takes: its API key's, or its address's."""
    if key := request.scope.get(CALLER):
        return f"key {key}"
    return f"address {rate_limit_key((request.scope.get('client') or ('',))[0])}"
