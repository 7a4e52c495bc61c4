"""Probes and limits."""

from fastapi import APIRouter, Request

from server import answers, errors, schemas
from server.calls import engine_of
from server.openapi import problems

router = APIRouter()


@router.get("/v1/limits", operation_id="get_limits", tags=["server"], responses=problems())
async def get_limits(request: Request) -> schemas.Limits:
    """States every limit in force, so that a caller need not guess."""
    return answers.limits(engine_of(request).settings)


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
    engine_of(request).require_ready()
    return schemas.Health(status="ready")
