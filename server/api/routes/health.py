"""Health probes, limits in force and Prometheus metrics."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from server import problem_types as kinds
from server.api.clip_request import engine_of
from server.api.openapi import answer, problems
from server.api.routes.jobs import jobs_of
from server.schemas.examples import LIMITS
from server.schemas.metadata import Health, Limits

router = APIRouter()
metrics_router = APIRouter()
"""Included only if metrics have no port of their own."""

Verbose = Annotated[bool, Query(description="Include the checks behind the status.")]


@router.get(
    "/v1/limits",
    operation_id="get_limits",
    tags=["server"],
    responses={**answer(LIMITS), **problems()},
)
async def get_limits(request: Request) -> Limits:
    """Returns every limit in force."""
    return Limits.of(engine_of(request).settings)


@router.get(
    "/livez",
    operation_id="get_liveness",
    tags=["server"],
    response_model_exclude_none=True,
    responses={**answer({"status": "alive"}), **problems()},
)
async def get_liveness() -> Health:
    """Liveness probe: the process responds."""
    return Health(status="alive")


@router.get(
    "/readyz",
    operation_id="get_readiness",
    tags=["server"],
    response_model_exclude_none=True,
    responses={
        **answer({"status": "ready"}),
        **problems(
            kinds.STARTING,
            kinds.UNHEALTHY,
            kinds.NO_STORAGE,
            kinds.DRAINING,
            kinds.INVALID_FIELD,
        ),
    },
)
async def get_readiness(request: Request, verbose: Verbose = False) -> Health:
    """Readiness probe: a clip, or a synthetic canary in its place, was processed recently.

    The folder of uploads can be written, too; a problem names the part that fails.

    With `verbose`, the response includes the checks and the result of the last reload; those of
    the engine are also metrics, which are available while the server is not ready. Without the
    store or the folder of jobs (`store`, `files`), the server stays ready for requests; jobs get
    503 meanwhile.
    """
    engine = engine_of(request)
    engine.life.require_ready()
    checks = engine.checks | jobs_of(request).checks
    return Health(status="ready", checks=checks if verbose else None)


@metrics_router.get(
    "/metrics",
    operation_id="get_metrics",
    tags=["server"],
    response_class=Response,
    responses={
        200: {
            "description": "Every metric, as OpenMetrics if accepted, else as plain text.",
            "content": {
                "application/openmetrics-text": {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        **problems(),
    },
)
async def get_metrics(request: Request) -> Response:
    """Returns the metrics of this server."""
    page, content_type = engine_of(request).telemetry.metrics.render(
        request.headers.get("accept", "")
    )
    return Response(page, media_type=content_type)
