"""Thin endpoints: parse, call the engine, answer."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from server import answers, errors, schemas
from server.engine import Engine
from server.errors import CallerGone, FieldInvalid, NotFound
from server.examples import PREDICTION
from server.openapi import CLIP_BODY, FOR_CLIPS, problems
from server.options import PredictOptions, PredictQuery, parse_options
from server.uploads import Spool

T = TypeVar("T")

router = APIRouter()


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


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
    engine = _engine(request)
    spool: Spool = request.app.state.spool
    started_s = asyncio.get_running_loop().time()
    with engine.admit():
        async with spool.receive(request) as upload:
            options = _options(query, upload.options)
            deadline_s = started_s + _timeout_s(options, engine.settings.timeout_s)
            outcome = await _unless_gone(
                request, engine.predict(upload.path, options, deadline_s=deadline_s)
            )
    answer = answers.prediction(
        outcome,
        options,
        engine.predictor,
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


def _options(query: PredictQuery, part: bytes | None) -> PredictOptions:
    """The JSON part if there is one, else the query; both at once would be ambiguous."""
    if part is None:
        return query.to_options()
    if query.model_fields_set:
        raise FieldInvalid(("/request", "send choices in the part or in the query, not both"))
    return parse_options(part)


def _timeout_s(options: PredictOptions, limit_s: float) -> float:
    if options.timeout_s is None:
        return limit_s
    if options.timeout_s > limit_s:
        raise FieldInvalid(("/timeout_s", f"at most {limit_s:g}"))
    return options.timeout_s


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
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


@router.get(
    "/v1/models",
    operation_id="list_models",
    tags=["model"],
    responses=problems(errors.STARTING),
)
async def list_models(request: Request) -> schemas.Models:
    """Lists the models being served."""
    return schemas.Models(models=[answers.model_facts(_engine(request).predictor)])


@router.get(
    "/v1/models/{name}",
    operation_id="get_model",
    tags=["model"],
    responses=problems(errors.NOT_FOUND, errors.INVALID_FIELD, errors.STARTING),
)
async def get_model(name: str, request: Request) -> schemas.ModelFacts:
    """Says what one model's bundle says of itself."""
    predictor = _engine(request).predictor
    if name != predictor.name:
        raise NotFound("no model of this name is being served; see /v1/models")
    return answers.model_facts(predictor)


@router.get(
    "/v1/taxonomy",
    operation_id="get_taxonomy",
    tags=["model"],
    responses=problems(errors.STARTING),
)
async def get_taxonomy(request: Request) -> schemas.Taxonomy:
    """Names every label by id."""
    predictor = _engine(request).predictor
    return schemas.Taxonomy(
        model=answers.identity(predictor), label_spaces=predictor.manifest.label_spaces
    )


@router.get("/v1/limits", operation_id="get_limits", tags=["server"], responses=problems())
async def get_limits(request: Request) -> schemas.Limits:
    """States every limit in force, so that a caller need not guess."""
    return answers.limits(_engine(request).settings)


@router.get("/livez", operation_id="get_liveness", tags=["server"], responses=problems())
async def get_liveness() -> schemas.Health:
    """Says that the process answers."""
    return schemas.Health(status="alive")


@router.get(
    "/readyz",
    operation_id="get_readiness",
    tags=["server"],
    responses=problems(errors.STARTING, errors.DRAINING),
)
async def get_readiness(request: Request) -> schemas.Health:
    """Says whether a clip sent now would be answered: a canary has been through every stage."""
    _engine(request).require_ready()
    return schemas.Health(status="ready")
