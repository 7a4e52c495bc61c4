"""One clip, one answer."""

import asyncio
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from server import answers, schemas
from server.calls import engine_of, options_of, timeout_of, unless_gone
from server.examples import PREDICTION
from server.openapi import CLIP_BODY, FOR_CLIPS, problems
from server.options import PredictQuery
from server.uploads import Spool

router = APIRouter()


@router.post(
    "/v1/predictions",
    operation_id="create_prediction",
    tags=["predictions"],
    summary="Answer one clip",
    response_model=schemas.Prediction,
    response_description="The answers; parts not asked for are absent.",
    responses={
        200: {"content": {"application/json": {"example": PREDICTION}}},
        **problems(*FOR_CLIPS),
    },
    openapi_extra={"requestBody": CLIP_BODY},
)
async def create_prediction(request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
    """Decodes the clip and answers every task asked for, with one pass through the model.

    Send the clip as the `video` part of a form, with the choices as JSON in the `request` part;
    or send it as the whole body, with the choices as query parameters.
    """
    engine = engine_of(request)
    spool: Spool = request.app.state.spool
    started_s = asyncio.get_running_loop().time()
    with engine.admit():
        async with spool.receive(request) as upload:
            options = options_of(query, upload.options)
            deadline_s = started_s + timeout_of(options, engine.settings.timeout_s)
            outcome = await unless_gone(
                request, engine.predict(upload.path, options, deadline_s=deadline_s)
            )
    answer = answers.prediction(
        outcome,
        options,
        outcome.predictor,
        answer_id=uuid4().hex,
        total_s=asyncio.get_running_loop().time() - started_s,
    )
    stages = answer.timings.model_dump()
    return Response(
        answer.model_dump_json(exclude_none=True),
        media_type="application/json",
        headers={
            "Server-Timing": ", ".join(
                f"{name.removesuffix('_ms')};dur={ms}" for name, ms in stages.items()
            )
        },
    )
