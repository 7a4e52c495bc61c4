"""Clip request: admission, body, options, deadline and disconnect of every call with a clip."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastapi import Request

from extract.features.track_file import MAX_HEADER_BYTES
from extract.windows import count_windows
from server.api.uploads.bodies import BodyKind, SizeLimit
from server.api.uploads.pace import Pace
from server.api.uploads.receive import UploadReceiver
from server.api.uploads.spool import DiskQuota
from server.engine.engine import Engine
from server.engine.request import Source
from server.engine.uploaded_features import read_features
from server.errors import CallerGone, FieldInvalid
from server.schemas.options import ClipOptions, TimedOptions, from_query, parse_options

T = TypeVar("T")
Options = TypeVar("Options", bound=ClipOptions)

BOTH: tuple[BodyKind, ...] = ("video", "features")


SPARE = 2
"""Features of up to so many times the longest clip are received: then the length is refused."""


@dataclass(frozen=True, eq=False)
class ClipRequest(Generic[Options]):
    """A request whose body has been received.

    Attributes:
        source: the clip, or its features.
        path: what was sent, on disk.
        options: the caller's options.
        started_s: when its first byte was received, on the loop's clock.
        deadline_s: when it is given up, on the loop's clock.
    """

    source: Source
    path: Path
    options: Options
    started_s: float
    deadline_s: float


def engine_of(request: Request) -> Engine:
    """Returns the app's engine."""
    engine: Engine = request.app.state.engine
    return engine


def spool_of(request: Request) -> UploadReceiver:
    """Returns the app's receiver of bodies."""
    spool: UploadReceiver = request.app.state.spool
    return spool


def clip_spool(engine: Engine) -> UploadReceiver:
    """Returns the receiver of clips: each holds a place of the engine and room on the disk."""
    settings, metrics = engine.settings, engine.telemetry.metrics
    quota = DiskQuota(
        settings.max_spool_bytes,
        engine.admission.retry_after_s,
        share=settings.max_caller_share,
        largest=settings.max_upload_bytes,
    )
    metrics.read(metrics.spool_bytes, lambda: quota.held)

    @asynccontextmanager
    async def reserve(caller: str, declared: int) -> AsyncIterator[Callable[[int], None]]:
        with engine.admit(caller), quota.reserve(caller) as grow_to:
            grow_to(declared)
            yield grow_to

    return UploadReceiver(
        settings.spool_dir,
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.upload_timeout_s,
        pace=Pace(settings.min_upload_bytes_s, settings.upload_stall_s),
        reserve=reserve,
        telemetry=engine.telemetry,
    )


@asynccontextmanager
async def receive_clip(
    request: Request,
    query: ClipOptions,
    options: type[Options],
    kinds: tuple[BodyKind, ...] = BOTH,
    *,
    features_s: float | None = None,
) -> AsyncIterator[ClipRequest[Options]]:
    """Yields the request once it is admitted and its body received; stays admitted until the end.

    Args:
        request: whose body has not been read.
        query: its query parameters.
        options: what they or the JSON part stand for.
        kinds: what the body may be.
        features_s: longest clip that features may stand for; default: that of clips.

    Raises:
        ServerError: the server is full, or the body or the options are invalid.
    """
    engine = engine_of(request)
    started_s = asyncio.get_running_loop().time()
    longest_s = features_s or engine.settings.max_duration_s
    limit = partial(features_limit, engine, longest_s)
    async with spool_of(request).receive(request, kinds, features_limit=limit) as upload:
        chosen = read_options(query, upload.options, options)
        deadline_s = started_s + timeout_of(chosen, engine.settings.timeout_s)
        source: Source = upload.path
        if upload.kind == "features":
            check_no_track(chosen)
            source = await asyncio.to_thread(
                read_features, upload.path, engine.predictor.encoder, max_duration_s=longest_s
            )
        yield ClipRequest(source, upload.path, chosen, started_s, deadline_s)


def features_limit(engine: Engine, longest_s: float) -> SizeLimit:
    """Returns the most bytes of a body of features, in proportion to the longest clip.

    Raises:
        NotReady: no bundle is loaded, whose encoder it depends on.
    """
    encoder = engine.predictor.encoder
    frames = math.ceil(longest_s * encoder.contract.fps)
    row_bytes = 4 * encoder.dim + 2 * 8  # float32; start and end in float64
    size = MAX_HEADER_BYTES + SPARE * count_windows(frames, encoder.contract) * row_bytes
    return SizeLimit(size, f"which is ample for features of {longest_s:g} s")


def read_options(query: ClipOptions, part: bytes | None, kind: type[Options]) -> Options:
    """Returns the options in the JSON part if there is one, else those of the query parameters.

    Raises:
        FieldInvalid: both were sent, which would be ambiguous, or an option is wrong.
        MalformedRequest: the part is not JSON.
    """
    if part is None:
        return from_query(query, kind)
    if query.model_fields_set:
        raise FieldInvalid(("/request", "send choices in the part or in the query, not both"))
    return parse_options(part, kind)


def check_no_track(options: ClipOptions) -> None:
    """Raises if a video track was chosen for features.

    Raises:
        FieldInvalid: one was.
    """
    if options.video_track is not None:
        raise FieldInvalid(("/video_track", "features have no video tracks to choose from"))


def timeout_of(options: TimedOptions, limit_s: float) -> float:
    """Returns the timeout of a request in seconds.

    Raises:
        FieldInvalid: longer than the limit.
    """
    if options.timeout_s is None:
        return limit_s
    if options.timeout_s > limit_s:
        raise FieldInvalid(("/timeout_s", f"at most {limit_s:g}"))
    return options.timeout_s


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of a coroutine, or cancels it as soon as the client disconnects.

    Raises:
        CallerGone: the client disconnected.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnect(request: Request) -> None:
    """Returns when the client disconnects; the body has been read, so no other message comes."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
