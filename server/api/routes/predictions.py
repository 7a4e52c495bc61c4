"""Predictions: one clip -> the predictions of every requested task, at once or as a job."""

import asyncio
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from server import problem_types as kinds
from server.api.clip_request import cancel_on_disconnect, engine_of, receive_clip
from server.api.events import sse as events
from server.api.events.sse import EventStream, Post
from server.api.negotiation import accepted, preference_of
from server.api.openapi import ACCEPTED_HEADERS, ASYNC_HEADERS, CLIP_BODY, FOR_CLIPS, JSON, problems
from server.api.routes.jobs import submit
from server.engine import responses as answers
from server.engine.request import Progress
from server.errors import FieldInvalid
from server.schemas import jobs as job_schemas
from server.schemas import prediction as schemas
from server.schemas.examples import EVENTS, JOB, PREDICTION
from server.schemas.options import PredictOptions, PredictParameters
from server.schemas.problems import problem_from
from server.telemetry import logs

router = APIRouter()


@router.post(
    "/v1/predictions",
    operation_id="create_prediction",
    tags=["predictions"],
    summary="Predict for one clip",
    response_model=schemas.Prediction,
    response_description="The predictions, or a stream of events with them at the end.",
    responses={
        200: {
            "content": {
                JSON: {"example": PREDICTION},
                events.MEDIA_TYPE: {"schema": {"type": "string"}, "example": EVENTS},
            }
        },
        202: {
            "model": job_schemas.Job,
            "description": "With `Prefer: respond-async`: the job.",
            "content": {JSON: {"example": JOB}},
            "headers": ACCEPTED_HEADERS,
        },
        **problems(
            *FOR_CLIPS,
            kinds.NOT_ACCEPTABLE,
            kinds.KEY_IN_PROGRESS,
            kinds.KEY_REUSED,
            kinds.TOO_LONG_FOR_JOB,
            kinds.NO_JOBS,
        ),
    },
    openapi_extra={"requestBody": CLIP_BODY, "parameters": ASYNC_HEADERS},
)
async def create_prediction(
    request: Request, query: Annotated[PredictParameters, Query()]
) -> Response:
    """Decodes the clip and predicts every requested task, with one pass through the model.

    Send the clip as the `video` part of a form, with the options as JSON in the `request` part;
    or as the whole body, with the options as query parameters. Features from `/v1/features` may be
    sent instead of the clip. With `Accept: text/event-stream` the response is a stream of events:
    `progress` for each stage, then `completed` with the predictions, or `error`.

    With `Prefer: respond-async` the request becomes a job, whose video may be much longer, and the
    response has its path. The same `Idempotency-Key` and body always give the same job.
    """
    preference = preference_of(request.headers)
    if preference.is_async:
        return await submit(request, query, preference)
    if accepted(request, (JSON, events.MEDIA_TYPE)) == events.MEDIA_TYPE:
        limits = request.app.state.limits
        return EventStream(
            lambda post: _predict(request, query, post),
            lambda error: problem_from(error, limits).body(logs.current_request()),
        )
    answer = await _predict(request, query, lambda name, body: None)
    return Response(
        answer.model_dump_json(exclude_none=True),
        media_type=JSON,
        headers={"Server-Timing": answers.server_timing(answer.timings)},
    )


async def _predict(request: Request, query: PredictParameters, post: Post) -> schemas.Prediction:
    engine = engine_of(request)

    def on_progress(progress: Progress) -> None:
        post("progress", answers.progress(progress))

    async with receive_clip(request, query, PredictOptions) as call:
        if call.options.webhook_url is not None:
            raise FieldInvalid(("/webhook_url", "goes with `Prefer: respond-async` only"))
        on_progress(Progress("received"))
        work = engine.predict(
            call.source, call.options, deadline_s=call.deadline_s, on_progress=on_progress
        )
        outcome = await cancel_on_disconnect(request, work)
    return answers.prediction(
        outcome,
        call.options,
        answer_id=uuid4().hex,
        total_s=asyncio.get_running_loop().time() - call.started_s,
    )
