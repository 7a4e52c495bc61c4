"""Kept clips: what a caller's skills are taught from."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse

from extract.features.track import FeatureTrack
from server import problem_types as kinds
from server.api.clip_request import cancel_on_disconnect, engine_of, receive_clip
from server.api.job_intake import caller_of
from server.api.openapi import FOR_CLIPS, JSON, KEPT_BODY, answer, problems
from server.engine.request import segment_request
from server.errors import FieldInvalid
from server.schemas import teaching as schemas
from server.schemas import teaching_options as choices
from server.schemas.examples import KEPT_CLIP
from server.schemas.options import ClipOptions, SegmentOptions
from server.teaching.bodies import clip_body
from server.teaching.clips import MEDIA_TYPES, SentClip
from server.teaching.service import Teaching

LOCATION = {"Location": {"description": "Path of the clip.", "schema": {"type": "string"}}}
FOR_TEACHING = (kinds.TEACHING_OFF, kinds.NO_STORAGE, kinds.INVALID_FIELD)


def teaching_of(request: Request) -> Teaching:
    """Returns the app's teaching.

    Raises:
        TeachingOff: callers may not teach.
    """
    teaching: Teaching = request.app.state.teaching
    teaching.require_on()
    return teaching


router = APIRouter(tags=["teaching"], dependencies=[Depends(teaching_of)])


@router.post(
    "/v1/clips",
    operation_id="keep_clip",
    summary="Keep a clip to learn from",
    status_code=201,
    response_model=schemas.Clip,
    responses={
        **answer(KEPT_CLIP, 201, headers=LOCATION),
        **answer(
            KEPT_CLIP, headers=LOCATION, description="It was kept before.", model=schemas.Clip
        ),
        **problems(*FOR_CLIPS, *FOR_TEACHING, kinds.CLIP_EXISTS, kinds.TEACHING_QUOTA),
    },
    openapi_extra={"requestBody": KEPT_BODY},
)
async def keep_clip(
    request: Request, query: Annotated[choices.ClipParameters, Query()]
) -> Response:
    """Encodes a clip, as `/v1/features` does, and keeps the features under a name.

    Features may be sent instead, also those of a longer video. A name is kept once: with the same
    bytes again the response is 200, with others 409.
    """
    teaching, engine = teaching_of(request), engine_of(request)
    settings = engine.settings
    if query.keep_video and not settings.teaching_keep_videos:
        raise FieldInvalid(("/keep_video", "this server keeps features only"))
    given = query.model_dump(exclude_unset=True, exclude={"name", "keep_video"})
    longest_s = max(settings.max_duration_s, settings.job_max_duration_s)
    async with receive_clip(
        request, ClipOptions(**given), ClipOptions, features_s=longest_s
    ) as call:
        if isinstance(call.source, FeatureTrack):
            if query.keep_video:
                raise FieldInvalid(("/keep_video", "features have no video to keep"))
            engine.predictor.check(segment_request(call.source, SegmentOptions()))
        work = engine.features(call.source, call.options, deadline_s=call.deadline_s)
        seen = await cancel_on_disconnect(request, work)
        media_type = None
        if query.keep_video and seen.clip is not None:
            media_type = MEDIA_TYPES.get(seen.clip.info.container, "video/webm")
        sent = SentClip(query.name, seen.track, call.path, media_type)
        clip, is_new = await teaching.keep(caller_of(request), sent)
    return _answer(clip_body(clip), 201 if is_new else 200, {"Location": f"/v1/clips/{clip.id}"})


@router.get(
    "/v1/clips",
    operation_id="list_clips",
    summary="List the clips that you keep",
    responses={
        **answer({"clips": [KEPT_CLIP], "limit": 200, "keeps_videos": False}),
        **problems(*FOR_TEACHING),
    },
)
async def list_clips(request: Request) -> schemas.Clips:
    """Lists the clips that were kept with the same API key, oldest first."""
    teaching = teaching_of(request)
    kept = await teaching.call(partial(teaching.clips.list, caller_of(request)))
    return schemas.Clips(
        clips=[clip_body(clip) for clip in kept],
        limit=teaching.settings.teaching_clips,
        keeps_videos=teaching.settings.teaching_keep_videos,
    )


@router.get(
    "/v1/clips/{clip_id}",
    operation_id="get_clip",
    summary="Get a clip that you keep",
    responses={**answer(KEPT_CLIP), **problems(*FOR_TEACHING, kinds.NOT_FOUND)},
)
async def get_clip(clip_id: str, request: Request) -> schemas.Clip:
    """Returns what is known of a kept clip."""
    teaching = teaching_of(request)
    find = partial(teaching.clips.find, caller_of(request), clip_id)
    return clip_body(await teaching.call(find))


@router.get(
    "/v1/clips/{clip_id}/video",
    operation_id="get_clip_video",
    summary="Get the video of a clip that you keep",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The video as it was sent, or with `Range` a part of it (206).",
            "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(*FOR_TEACHING, kinds.NOT_FOUND),
    },
)
async def get_clip_video(clip_id: str, request: Request) -> FileResponse:
    """Returns the video of a clip that was kept with `keep_video`."""
    teaching = teaching_of(request)
    find = partial(teaching.clips.find, caller_of(request), clip_id)
    clip = await teaching.call(find)
    path = teaching.clips.video(clip)
    facts = await teaching.call(path.stat)
    return FileResponse(path, media_type=clip.media_type, stat_result=facts)


@router.delete(
    "/v1/clips/{clip_id}",
    operation_id="delete_clip",
    summary="Delete a clip that you keep",
    status_code=204,
    response_class=Response,
    responses={**problems(*FOR_TEACHING, kinds.NOT_FOUND)},
)
async def delete_clip(clip_id: str, request: Request) -> Response:
    """Deletes a kept clip; skills that were taught with it stay as they are."""
    await teaching_of(request).delete_clip(caller_of(request), clip_id)
    return Response(status_code=204)


def _answer(body: schemas.Clip, status: int, headers: dict[str, str]) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type=JSON)
