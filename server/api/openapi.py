"""OpenAPI document: the request bodies and problems that FastAPI cannot derive from signatures."""

from itertools import groupby
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server import problem_types as kinds
from server.api.oip.schemas import Failure, InferRequest
from server.api.oip.wire import HEADER_LENGTH
from server.api.uploads.bodies import SAFETENSORS, BodyKind
from server.schemas.options import ActionOptions, ClipOptions, PredictOptions, SearchOptions
from server.schemas.prediction import ProblemBody
from server.schemas.problems import MEDIA_TYPE, Problem
from server.schemas.teaching_options import CompareOptions, SuggestOptions, TeachOptions

ANYWHERE = (
    kinds.MALFORMED,
    kinds.UNAUTHENTICATED,
    kinds.CROSS_SITE,
    kinds.TOO_LARGE,
    kinds.URI_TOO_LONG,
    kinds.WRONG_HOST,
    kinds.RATE_LIMITED,
    kinds.HEADERS_TOO_LARGE,
    kinds.INTERNAL,
)
"""Problems of every endpoint."""

FOR_VIDEOS = (
    kinds.UNSUPPORTED,
    kinds.INVALID_FIELD,
    kinds.UNDECODABLE,
    kinds.NO_STREAM,
    kinds.TOO_SHORT,
    kinds.TOO_LONG,
    kinds.TOO_LARGE_FOR_SYNC,
    kinds.TOO_MANY_PIXELS,
    kinds.FRAME_RATE,
    kinds.CODEC,
    kinds.QUEUE_FULL,
    kinds.STARTING,
    kinds.DRAINING,
    kinds.UNHEALTHY,
    kinds.OUT_OF_MEMORY,
    kinds.NO_DECODER,
    kinds.NO_STORAGE,
    kinds.DEADLINE,
)
"""Further problems of an endpoint that takes a clip."""

FOR_CLIPS = (*FOR_VIDEOS, kinds.FEATURES)
"""Further problems of an endpoint that takes a clip or its features."""

JSON = "application/json"
_REF = "#/components/schemas/"
_BYTES = {"type": "string", "minLength": 1, "contentMediaType": "application/octet-stream"}
_PARTS: dict[BodyKind, dict[str, Any]] = {
    "video": {**_BYTES, "description": "The clip: mp4, mov, mkv or webm."},
    "features": {
        "type": "string",
        "minLength": 1,
        "contentMediaType": SAFETENSORS,
        "description": "Instead of the clip: its features, as `/v1/features` returns them.",
    },
}


def _clip_body(options: type[BaseModel], *bodies: BodyKind) -> dict[str, Any]:
    """Returns the `requestBody` of a clip or its features, raw or in a form."""
    form: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{kind: _PARTS[kind] for kind in bodies},
            "request": {"$ref": f"{_REF}{options.__name__}"},
        },
        "oneOf": [{"required": [kind]} for kind in bodies],
    }
    content: dict[str, Any] = {
        "multipart/form-data": {
            "schema": form,
            "encoding": {"request": {"contentType": JSON}},
        },
        "video/*": {"schema": {**_BYTES, "contentMediaType": "video/*"}},
        "application/octet-stream": {"schema": _BYTES},
    }
    if "features" in bodies:
        content[SAFETENSORS] = {"schema": {**_BYTES, "contentMediaType": SAFETENSORS}}
    return {
        "required": True,
        "description": "The clip, as a part of a form or as the whole body.",
        "content": content,
    }


VIDEO_BODY = _clip_body(ClipOptions, "video")
CLIP_BODY = _clip_body(PredictOptions, "video", "features")
KEPT_BODY = _clip_body(ClipOptions, "video", "features")
SEARCH_BODY = _clip_body(SearchOptions, "video", "features")
SEARCH_BODY["description"] += " Or an action, as JSON."
SEARCH_BODY["content"][JSON] = {"schema": {"$ref": f"{_REF}{ActionOptions.__name__}"}}

INFER_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER_LENGTH,
            "in": "header",
            "description": "Length of the JSON in bytes, if binary tensor data follows it.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "The protocol's JSON; binary tensor data may follow it.",
        "content": {
            JSON: {"schema": {"$ref": f"{_REF}{InferRequest.__name__}"}},
            "application/octet-stream": {"schema": _BYTES},
        },
    },
}

BODIES = (
    ClipOptions,
    PredictOptions,
    SearchOptions,
    ActionOptions,
    InferRequest,
    TeachOptions,
    CompareOptions,
    SuggestOptions,
)
"""Request bodies that endpoints parse themselves, so that FastAPI does not list them."""

IDEMPOTENCY_KEY: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Of a job: a retry with the same key and body gets the same job.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
]
"""Request header of whatever becomes a job."""

ASYNC_HEADERS: list[dict[str, Any]] = [
    {
        "name": "Prefer",
        "in": "header",
        "description": "`respond-async`: respond with a job; `wait=N`: after at most N seconds.",
        "schema": {"type": "string"},
        "example": "respond-async, wait=5",
    },
    *IDEMPOTENCY_KEY,
]
"""Request headers of asynchronous predictions."""

ACCEPTED_HEADERS = {
    "Location": {"description": "Path of the job.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "As in RFC 7240.", "schema": {"type": "string"}},
}


def problems(*rows: kinds.ProblemType) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of an endpoint: an entry per status, an example per slug."""
    responses: dict[int | str, dict[str, Any]] = {}
    kinds_in_order = sorted({*rows, *ANYWHERE}, key=lambda kind: (kind.status, kind.slug))
    for status, group in groupby(kinds_in_order, key=lambda kind: kind.status):
        texts, examples = [], {}
        for kind in group:
            example = Problem(kind, kind.title).body("0f3c9a").model_dump(exclude_none=True)
            examples[kind.slug] = {"summary": kind.title, "value": example}
            texts.append(f"`{kind.slug}`: {kind.title}")
        schema = {"$ref": f"{_REF}{ProblemBody.__name__}"}
        responses[status] = {
            "description": " ".join(texts),
            "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
        }
        if status in (429, 503):
            retry_after = {"description": "Seconds until a retry.", "schema": {"type": "integer"}}
            responses[status]["headers"] = {"Retry-After": retry_after}
    return responses


def answer(example: Any, status: int = 200, **more: Any) -> dict[int | str, dict[str, Any]]:
    """Returns the entry of `responses` with an example of success, and more about it."""
    return {status: {"content": {JSON: {"example": example}}, **more}}


def json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """Returns the `requestBody` of an endpoint that parses its JSON itself."""
    schema = {"$ref": f"{_REF}{kind.__name__}"}
    return {"required": True, "content": {JSON: {"schema": schema}}}


def failures(*rows: kinds.ProblemType) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of an endpoint of the Open Inference Protocol."""
    responses = problems(*rows)
    for entry in responses.values():
        examples = entry["content"].pop(MEDIA_TYPE)["examples"]
        for example in examples.values():
            example["value"] = {"error": example["summary"]}
        schema = {"$ref": f"{_REF}{Failure.__name__}"}
        entry["content"][JSON] = {"schema": schema, "examples": examples}
    return responses


def install(app: FastAPI, *, has_key: bool) -> None:
    """Makes the app serve the complete document.

    Args:
        app: with all its routes.
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
        [
            (ProblemBody, "serialization"),
            (Failure, "serialization"),
            *((body, "validation") for body in BODIES),
        ],
        ref_template=_REF + "{model}",
    )
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **extra["$defs"]}
    # FastAPI's own 422 body, which every endpoint replaces by a problem.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    if has_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document
