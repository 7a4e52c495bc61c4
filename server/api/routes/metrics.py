"""Metrics for Prometheus."""

from fastapi import APIRouter, Request, Response

from server.api.clip_request import engine_of
from server.api.openapi import problems

router = APIRouter()


@router.get(
    "/metrics",
    operation_id="get_metrics",
    tags=["server"],
    response_class=Response,
    responses={
        200: {
            "description": "Every metric, as OpenMetrics for who accepts it, else as plain text.",
            "content": {
                "application/openmetrics-text": {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        **problems(),
    },
)
async def get_metrics(request: Request) -> Response:
    """Says how the server is doing, in numbers."""
    page, content_type = engine_of(request).telemetry.metrics.render(
        request.headers.get("accept", "")
    )
    return Response(page, media_type=content_type)
