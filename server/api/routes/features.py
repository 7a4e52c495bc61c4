"""Feature extraction: a clip -> a file of features, which later requests may send instead."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from extract.features.track_file import track_bytes
from server import problem_types as kinds
from server.api.clip_request import cancel_on_disconnect, engine_of, receive_clip
from server.api.negotiation import accepted
from server.api.openapi import FOR_VIDEOS, VIDEO_BODY, problems
from server.api.uploads.bodies import SAFETENSORS
from server.engine import responses as answers
from server.schemas.options import ClipOptions

router = APIRouter()


@router.post(
    "/v1/features",
    operation_id="create_features",
    tags=["predictions"],
    summary="Turn one clip into features",
    response_class=Response,
    responses={
        200: {
            "description": "safetensors: `features` (L, D) float32, `start_s` and `end_s` (L,) "
            "float64; the metadata names the encoder and the number of frames.",
            "content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(*FOR_VIDEOS, kinds.NOT_ACCEPTABLE),
    },
    openapi_extra={"requestBody": VIDEO_BODY},
)
async def create_features(request: Request, query: Annotated[ClipOptions, Query()]) -> Response:
    """Decodes the clip and encodes its windows, as for a prediction.

    The file is in the format of stored features, and can be sent to `/v1/predictions` and
    `/v1/backpack/search` instead of the clip.
    """
    accepted(request, (SAFETENSORS,))
    engine = engine_of(request)
    async with receive_clip(request, query, ClipOptions, ("video",)) as call:
        seen = await cancel_on_disconnect(
            request, engine.features(call.source, call.options, deadline_s=call.deadline_s)
        )
    total_s = asyncio.get_running_loop().time() - call.started_s
    return Response(
        track_bytes(seen.track),
        media_type=SAFETENSORS,
        headers={
            "Content-Disposition": 'attachment; filename="clip.safetensors"',
            "Server-Timing": answers.server_timing(answers.timings(seen.times, total_s)),
        },
    )
