"""Probes and limits."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from server import problem_types as kinds
from server.api.clip_request import engine_of
from server.api.openapi import answer, problems
from server.schemas.examples import LIMITS
from server.schemas.metadata import Health, Limits

router = APIRouter()

Verbose = Annotated[bool, Query(description="Say what the answer rests on.")]


@router.get(
    "/v1/limits",
    operation_id="get_limits",
    tags=["server"],
    responses={**answer(LIMITS), **problems()},
)
async def get_limits(request: Request) -> Limits:
    """States every limit in force, so that a caller need not guess."""
    return Limits.of(engine_of(request).settings)


@router.get(
    "/livez",
    operation_id="get_liveness",
    tags=["server"],
    response_model_exclude_none=True,
    responses={**answer({"status": "alive"}), **problems()},
)
async def get_liveness() -> Health:
    """Says that the process answers."""
    return Health(status="alive")


@router.get(
    "/readyz",
    operation_id="get_readiness",
    tags=["server"],
    response_model_exclude_none=True,
    responses={
        **answer({"status": "ready"}),
        **problems(kinds.STARTING, kinds.UNHEALTHY, kinds.DRAINING, kinds.INVALID_FIELD),
    },
)
async def get_readiness(request: Request, verbose: Verbose = False) -> Health:
    """Says whether a clip sent now would be answered: lately one was, or a canary in its place.

    With `verbose`, also what that rests on, and how the last reload went; each check is also a
    metric, for the times when the answer is a refusal.
    """
    engine = engine_of(request)
    engine.life.require_ready()
    return Health(status="ready", checks=engine.checks if verbose else None)
