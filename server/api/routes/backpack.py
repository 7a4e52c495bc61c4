"""Backpack search: the prototypes nearest to a clip or to an action."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from server.api.clip_request import (
    cancel_on_disconnect,
    engine_of,
    receive_clip,
    spool_of,
    timeout_of,
)
from server.api.openapi import FOR_CLIPS, JSON, SEARCH_BODY, answer, problems
from server.api.uploads.bodies import MemoryBody, media_type
from server.engine import responses as answers
from server.engine.request import BackpackResult
from server.errors import FieldInvalid
from server.schemas import prediction as schemas
from server.schemas.examples import MATCHES
from server.schemas.options import (
    MAX_OPTIONS_BYTES,
    ActionOptions,
    SearchOptions,
    SearchParameters,
    parse_options,
)

router = APIRouter()


@router.post(
    "/v1/backpack/search",
    operation_id="search_backpack",
    tags=["predictions"],
    summary="Search the backpack for a clip or an action",
    response_model=schemas.BackpackMatches,
    response_description="Per segment, or for the action, the nearest prototypes of every task.",
    responses={**answer(MATCHES), **problems(*FOR_CLIPS)},
    openapi_extra={"requestBody": SEARCH_BODY},
)
async def search_backpack(
    request: Request, query: Annotated[SearchParameters, Query()]
) -> Response:
    """Searches the nearest prototypes of each perspective, without predicting any task.

    A clip, or its features, is sent as to `/v1/predictions` and cut into segments as there. An
    action, a pair of verb and noun, is sent as JSON together with the options.
    """
    is_action = media_type(request.headers.get("content-type", ""))[0] == JSON
    found, total_s = await (_of_action if is_action else _of_clip)(request, query)
    matches = answers.matches(found, total_s)
    return Response(
        matches.model_dump_json(exclude_none=True),
        media_type=JSON,
        headers={"Server-Timing": answers.server_timing(matches.timings)},
    )


async def _of_clip(request: Request, query: SearchParameters) -> tuple[BackpackResult, float]:
    engine = engine_of(request)
    async with receive_clip(request, query, SearchOptions) as call:
        work = engine.backpack.of_clip(call.source, call.options, deadline_s=call.deadline_s)
        found = await cancel_on_disconnect(request, work)
    return found, asyncio.get_running_loop().time() - call.started_s


async def _of_action(request: Request, query: SearchParameters) -> tuple[BackpackResult, float]:
    engine = engine_of(request)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    if query.model_fields_set:
        raise FieldInvalid(("", "send the choices in the JSON, not in the query"))
    async with spool_of(request).hold(request, lambda _: MemoryBody(MAX_OPTIONS_BYTES)) as held:
        _, _, body = held
        options = parse_options(bytes(body.data), ActionOptions)
        deadline_s = started_s + timeout_of(options, engine.settings.timeout_s)
        work = engine.backpack.of_action(options, deadline_s=deadline_s)
        found = await cancel_on_disconnect(request, work)
    return found, loop.time() - started_s
