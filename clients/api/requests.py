"""Requests as plain values: method, path, request options, upload."""

import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict

UploadProgress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all)."""

Clip = Path | str
Features = Path | str | bytes
"""A file that `features` gave, or its bytes."""

EVENT_STREAM = "text/event-stream"


class SegmentChoices(TypedDict, total=False):
    """Request options that predictions and searches share; None means the server's default."""

    segments: Sequence[tuple[float, float]] | None
    """(start_s, end_s) pairs; default: the clip cut evenly."""
    segment_s: float | None
    """Length of those even cuts, in seconds."""
    top_k: int | None
    """Entries in each ranked list."""
    video_track: int | None
    """Which of the file's video tracks, counted from 0; default: the one it marks as default."""
    timeout_s: float | None
    """Time after which the server gives up, in seconds."""


class Choices(SegmentChoices, total=False):
    """Request options of a prediction."""

    tasks: Sequence[str] | None
    """What to answer; default: everything."""
    seed: int | None
    """Of the sampled futures."""
    parts: Sequence[str] | None
    """Optional parts wanted, of "evidence" and "scores"; default: both."""


class SearchChoices(SegmentChoices, total=False):
    """Request options of a search for the prototypes closest to a clip."""

    perspectives: Sequence[str] | None
    """Tasks whose prototypes to search; default: all."""
    backbone: str | None
    """Whose backpack; default: the first that has one."""


KNOWN = sorted({*Choices.__annotations__, *SearchChoices.__annotations__, "webhook_url"})


@dataclass(frozen=True)
class Upload:
    """The file of a multipart form.

    Attributes:
        part: name of the form's part.
        source: a file, read as it is sent; or its bytes.
        progress: called after every chunk.
    """

    part: Literal["video", "features"]
    source: Clip | bytes
    progress: UploadProgress | None = None


@dataclass(frozen=True)
class ApiRequest:
    """One HTTP request; unless it says otherwise, sent twice it does no more than sent once.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        params: of the query.
        headers: besides the client's own.
        json: body of JSON; beside an upload, the form's `request` part.
        upload: sent as a multipart form.
        is_repeatable: if not, it is not sent again when a connection breaks.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    upload: Upload | None = None
    is_repeatable: bool = True

    @contextmanager
    def body(self, check: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yields the body's arguments for httpx; the file is open meanwhile.

        `check` is called before every chunk; an exception of it ends the upload.
        """
        if self.upload is None:
            yield {} if self.json is None else {"json": self.json}
            return
        with _opened(self.upload.source) as file:
            # Not the file's own name: it may be private.
            part = ("clip", _Watched(file, self.upload.progress, check), "application/octet-stream")
            choices = (None, json.dumps(self.json or {}), "application/json")
            yield {"files": {"request": choices, self.upload.part: part}}


class _Watched:
    """A file that reports progress, and may be stopped, as httpx reads it."""

    def __init__(
        self, file: BinaryIO, progress: UploadProgress | None, check: Callable[[], None]
    ) -> None:
        self._file, self._progress, self._check = file, progress, check
        self._size = file.seek(0, os.SEEK_END)
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        self._check()
        data = self._file.read(size)
        if self._progress is not None and data:
            self._progress(self._file.tell(), self._size)
        return data


def _opened(source: Clip | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb", buffering=0)


def about_clip(
    path: str,
    clip: Clip | None,
    features: Features | None,
    choices: Mapping[str, Any],
    *,
    progress: UploadProgress | None = None,
    headers: Mapping[str, str] | None = None,
) -> ApiRequest:
    """Returns a request about a clip, or about its features in its place.

    Raises:
        TypeError: both clip and features, or neither; or an unknown request option.
    """
    if unknown := choices.keys() - KNOWN:
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(KNOWN)}")
    if (clip is None) == (features is None):
        raise TypeError("give a clip or its features, one of the two")
    upload = Upload("video", clip, progress) if clip is not None else None
    if features is not None:
        upload = Upload("features", features, progress)
    return ApiRequest(
        "POST", path, headers=headers or {}, json=without_none(choices), upload=upload
    )


def without_none(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the request options that are set, by their names in JSON."""
    names = {"parts": "return"}
    return {names.get(name, name): value for name, value in choices.items() if value is not None}


def new_key() -> str:
    """Returns a fresh idempotency key."""
    return uuid.uuid4().hex
