"""What every call has: an engine, choices, a deadline, and a caller who may hang up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from server.engine import Engine
from server.errors import CallerGone, FieldInvalid
from server.options import PredictOptions, PredictQuery, parse_options

T = TypeVar("T")


def engine_of(request: Request) -> Engine:
    """Returns the engine that answers for the app."""
    engine: Engine = request.app.state.engine
    return engine


def options_of(query: PredictQuery, part: bytes | None) -> PredictOptions:
    """Returns the JSON part's choices if there is one, else the query's.

    Raises:
        FieldInvalid: both were sent, which would be ambiguous, or a choice is wrong.
        MalformedRequest: the part is not JSON.
    """
    if part is None:
        return query.to_options()
    if query.model_fields_set:
        raise FieldInvalid(("/request", "send choices in the part or in the query, not both"))
    return parse_options(part)


def timeout_of(options: PredictOptions, limit_s: float) -> float:
    """Returns the seconds that the caller will wait.

    Raises:
        FieldInvalid: longer than the limit.
    """
    if options.timeout_s is None:
        return limit_s
    if options.timeout_s > limit_s:
        raise FieldInvalid(("/timeout_s", f"at most {limit_s:g}"))
    return options.timeout_s


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns what the work returns, or cancels it as soon as the caller hangs up."""
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
