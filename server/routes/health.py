"""Probes and limits."""

from fastapi import APIRouter, Request

from server import errors, fact_schemas, facts
from server.calls import engine_of
from server.examples import LIMITS
from server.openapi import answer, problems

router = APIRouter()


@router.get(
    "/v1/limits",
    operation_id="get_limits",
    tags=["server"],
    responses={**answer(LIMITS), **problems()},
)
async def get_limits(request: Request) -> fact_schemas.Limits:
    """States every limit in force, so that a caller need not guess."""
    return facts.limits(engine_of(request).settings)


@router.get(
    "/livez",
    operation_id="get_liveness",
    tags=["server"],
    responses={**answer({"status": "alive"}), **problems()},
)
async def get_liveness() -> fact_schemas.Health:
    """Says that the process answers."""
    return fact_schemas.Health(status="alive")


@router.get(
    "/readyz",
    operation_id="get_readiness",
    tags=["server"],
    responses={**answer({"status": "ready"}), **problems(errors.STARTING, errors.DRAINING)},
)
async def get_readiness(request: Request) -> fact_schemas.Health:
    """Says whether a clip sent now would be answered: a canary has been through every stage."""
    engine_of(request).require_ready()
    return fact_schemas.Health(status="ready")
