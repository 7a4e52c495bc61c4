"""Bodies with labels: JSON that may be larger than any other options, by the limit of labels."""

import asyncio
from functools import partial

from fastapi import Request

from server.api.clip_request import spool_of
from server.api.uploads.bodies import MemoryBody, media_type
from server.errors import UnsupportedMedia
from server.schemas.json_bounds import MAX_CONTAINERS, MAX_MEMBERS, MAX_VALUES, JsonBounds
from server.schemas.options import MAX_OPTIONS_BYTES, ON_LOOP_BYTES, Model, parse_options
from server.settings.teaching import TeachingSettings

JSON = "application/json"

LABEL_BYTES, LABEL_MEMBERS = 512, 8
"""Of one label in JSON or CSV: ample."""


def require_json(request: Request) -> None:
    """Raises unless the body is said to be JSON.

    Raises:
        UnsupportedMedia: it is not.
    """
    if media_type(request.headers.get("content-type", ""))[0] != JSON:
        raise UnsupportedMedia(f"send {JSON} as the content type")


def most_bytes(settings: TeachingSettings) -> int:
    """Returns the most bytes of a body with labels."""
    return MAX_OPTIONS_BYTES + LABEL_BYTES * settings.teaching_labels


async def receive_labels(request: Request, kind: type[Model], settings: TeachingSettings) -> Model:
    """Returns a body with labels; raises as `require_json`, `UploadReceiver.hold`, `parse_labels`.

    Args:
        request: whose body has not been read.
        kind: what the body stands for.
        settings: limit of labels.
    """
    require_json(request)
    most = most_bytes(settings)
    async with spool_of(request).hold(request, lambda _: MemoryBody(most)) as (_, _, body):
        return await parse_labels(bytes(body.data), kind, settings)


async def parse_labels(text: bytes, kind: type[Model], settings: TeachingSettings) -> Model:
    """Returns what a body stands for; twice the labels that may be sent still parse.

    So a caller who sends too many hears how many there are, not that the JSON is too large.

    Raises:
        MalformedRequest, FieldInvalid: as `parse_options` does.
    """
    spare = LABEL_MEMBERS * 2 * settings.teaching_labels
    bounds = JsonBounds(
        max_values=MAX_VALUES + spare,
        max_members=MAX_MEMBERS + spare,
        max_containers=MAX_CONTAINERS + spare,
    )
    read = partial(parse_options, text, kind, bounds=bounds)
    return read() if len(text) <= ON_LOOP_BYTES else await asyncio.to_thread(read)
