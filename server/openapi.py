"""The parts of the OpenAPI document that FastAPI cannot see: bodies read by hand, problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from server import errors
from server.errors import Kind, Problem
from server.options import PredictOptions
from server.problems import MEDIA_TYPE, body_of
from server.schemas import ProblemBody

ANYWHERE = (
    errors.MALFORMED,
    errors.UNAUTHENTICATED,
    errors.TOO_LARGE,
    errors.RATE_LIMITED,
    errors.INTERNAL,
)
"""What any endpoint may answer."""

FOR_CLIPS = (
    errors.UNSUPPORTED,
    errors.INVALID_FIELD,
    errors.UNDECODABLE,
    errors.NO_STREAM,
    errors.TOO_SHORT,
    errors.TOO_LONG,
    errors.TOO_MANY_PIXELS,
    errors.FRAME_RATE,
    errors.CODEC,
    errors.QUEUE_FULL,
    errors.STARTING,
    errors.DRAINING,
    errors.UNHEALTHY,
    errors.OUT_OF_MEMORY,
    errors.NO_DECODER,
    errors.DEADLINE,
)
"""What an endpoint that takes a clip may answer besides."""

_REF = "#/components/schemas/"

CLIP_BODY: dict[str, Any] = {
    "required": True,
    "description": "The clip, as one part of a form or as the whole body.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["video"],
                "additionalProperties": False,
                "properties": {
                    "video": {
                        "type": "string",
                        "contentMediaType": "application/octet-stream",
                        "description": "The clip: mp4, mov, mkv or webm.",
                    },
                    "request": {"$ref": f"{_REF}{PredictOptions.__name__}"},
                },
            },
            "encoding": {"request": {"contentType": "application/json"}},
        },
        "video/*": {"schema": {"type": "string", "contentMediaType": "video/*"}},
        "application/octet-stream": {
            "schema": {"type": "string", "contentMediaType": "application/octet-stream"}
        },
    },
}


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of an endpoint: one entry a status, one example a slug."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in sorted({*kinds, *ANYWHERE}, key=lambda kind: (kind.status, kind.slug)):
        example = body_of(Problem(kind, kind.title), "0f3c9a")
        entry = responses.setdefault(
            kind.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": f"{_REF}{ProblemBody.__name__}"},
                        "examples": {},
                    }
                },
            },
        )
        entry["description"] = f"{entry['description']} `{kind.slug}`: {kind.title}".strip()
        entry["content"][MEDIA_TYPE]["examples"][kind.slug] = {
            "summary": kind.title,
            "value": example.model_dump(exclude_none=True),
        }
        if kind.status in (429, 503):
            entry["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
    return responses


def install(app: FastAPI, *, has_key: bool) -> None:
    """Makes the app describe itself whole.

    Args:
        app: whose routes are complete.
        has_key: callers need an API key.
    """

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, has_key=has_key)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _document(app: FastAPI, *, has_key: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _, extra = models_json_schema(
        [(ProblemBody, "serialization"), (PredictOptions, "validation")],
        ref_template=_REF + "{model}",
    )
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **extra["$defs"]}
    # FastAPI describes its own 422 wherever there is a parameter; ours replaces it everywhere.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    if has_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document
