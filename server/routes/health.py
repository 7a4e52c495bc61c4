"""Probes and limits."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from server import answers, errors, schemas
from server.calls import engine_of
from server.openapi import problems

router = APIRouter()

Verbose = Annotated[bool, Query(description="Say what the answer rests on.")]


@router.get("/v1/limits", operation_id="get_limits", tags=["server"], responses=problems())
async def get_limits(request: Request) -> schemas.Limits:
    """States every limit in force, so that a caller need not guess."""
    return answers.limits(engine_of(request).settings)


@router.get(
    "/livez",
    operation_id="get_liveness",
    tags=["server"],
    response_model_exclude_none=True,
    responses=problems(),
)
async def get_liveness() -> schemas.Health:
    """Says that the process answers."""
    return schemas.Health(status="alive")


@router.get(
    "/readyz",
    operation_id="get_readiness",
    tags=["server"],
    response_model_exclude_none=True,
    responses=problems(errors.STARTING, errors.UNHEALTHY, errors.DRAINING, errors.INVALID_FIELD),
)
async def get_readiness(request: Request, verbose: Verbose = False) -> schemas.Health:
    """Says whether a clip sent now would be answered: lately one was, or a canary in its place.

    With `verbose`, also what that rests on, and how the last reload went; each check is also a
    metric, for the times when the answer is a refusal.
    """
    engine = engine_of(request)
    engine.require_ready()
    return schemas.Health(status="ready", checks=engine.checks if verbose else None)
