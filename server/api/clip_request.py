"""What every call with a clip has: a place, choices, a deadline, a caller who may hang up."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request

from server.api.uploads.bodies import BodyKind
from server.api.uploads.receive import UploadReceiver
from server.engine.engine import Engine
from server.engine.request import Source
from server.engine.uploaded_features import read_features
from server.errors import CallerGone, FieldInvalid, NotAcceptable
from server.schemas.options import ClipOptions, Query, TimedOptions

T = TypeVar("T")
Options = TypeVar("Options", bound=ClipOptions)

BOTH: tuple[BodyKind, ...] = ("video", "features")


@dataclass(frozen=True, eq=False)
class ClipRequest(Generic[Options]):
    """A request whose body has arrived.

    Attributes:
        source: the clip, or its features.
        options: what the caller chose.
        started_s: when its first byte came, on the loop's clock.
        deadline_s: when the caller will be told that it took too long.
    """

    source: Source
    options: Options
    started_s: float
    deadline_s: float


def engine_of(request: Request) -> Engine:
    """Returns the engine that answers for the app."""
    engine: Engine = request.app.state.engine
    return engine


def spool_of(request: Request) -> UploadReceiver:
    """Returns where the app keeps bodies."""
    spool: UploadReceiver = request.app.state.spool
    return spool


@asynccontextmanager
async def receive_clip(
    request: Request, query: Query[Options], kinds: tuple[BodyKind, ...] = BOTH
) -> AsyncIterator[ClipRequest[Options]]:
    """Yields the call once it is admitted and its body is here; holds its place until the end.

    Raises:
        ServerError: there is no place, or body or choices are at fault.
    """
    engine = engine_of(request)
    started_s = asyncio.get_running_loop().time()
    with engine.admit():
        async with spool_of(request).receive(request, kinds) as upload:
            options = options_of(query, upload.options)
            deadline_s = started_s + timeout_of(options, engine.settings.timeout_s)
            source: Source = upload.path
            if upload.kind == "features":
                check_no_track(options)
                source = await asyncio.to_thread(
                    read_features,
                    upload.path,
                    engine.predictor.encoder,
                    max_duration_s=engine.settings.max_duration_s,
                )
            yield ClipRequest(source, options, started_s, deadline_s)


def options_of(query: Query[Options], part: bytes | None) -> Options:
    """Returns the JSON part's choices if there is one, else the query's.

    Raises:
        FieldInvalid: both were sent, which would be ambiguous, or a choice is wrong.
        MalformedRequest: the part is not JSON.
    """
    if part is None:
        return query.to_options()
    if query.model_fields_set:
        raise FieldInvalid(("/request", "send choices in the part or in the query, not both"))
    return query.parse(part)


def check_no_track(options: ClipOptions) -> None:
    """Raises if a video track was chosen of what came as features.

    Raises:
        FieldInvalid: one was.
    """
    if options.video_track is not None:
        raise FieldInvalid(("/video_track", "features have no video tracks to choose from"))


def timeout_of(options: TimedOptions, limit_s: float) -> float:
    """Returns the seconds that the caller will wait.

    Raises:
        FieldInvalid: longer than the limit.
    """
    if options.timeout_s is None:
        return limit_s
    if options.timeout_s > limit_s:
        raise FieldInvalid(("/timeout_s", f"at most {limit_s:g}"))
    return options.timeout_s


def accepted(request: Request, offers: Sequence[str]) -> str:
    """Returns the content type that the caller likes best of those an endpoint gives.

    Args:
        request: its `Accept` header decides; without one, anything goes.
        offers: the server's own order of preference.

    Raises:
        NotAcceptable: none of them is accepted.
    """
    ranges = [_media_range(text) for text in request.headers.get("accept", "*/*").split(",")]
    quality = {offer: _quality(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: quality[offer])  # the first of equals
    if quality[best] <= 0:
        raise NotAcceptable(f"this endpoint answers with {' or '.join(offers)}")
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(offer: str, ranges: list[tuple[str, float]]) -> float:
    """The quality of the most specific range that matches (RFC 9110, section 12.5.1)."""
    for pattern in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns what the work returns, or cancels it as soon as the caller hangs up.

    Raises:
        CallerGone: nobody is left to answer.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _hang_up(request: Request) -> None:
    """Returns when the caller is gone; the body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
