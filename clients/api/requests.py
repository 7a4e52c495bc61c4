"""What is asked of a server, as plain values: built here, sent elsewhere."""

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
"""Hears how many bytes of how many are on their way."""

Clip = Path | str
Features = Path | str | bytes
"""A file that `features` gave, or its bytes."""

EVENT_STREAM = "text/event-stream"


class Choices(TypedDict, total=False):
    """What to ask about a clip; None, or leaving it out, means the server's default."""

    tasks: Sequence[str] | None
    """What to answer; default: everything."""
    segments: Sequence[tuple[float, float]] | None
    """(start_s, end_s) pairs; default: the clip cut evenly."""
    segment_s: float | None
    """Length of those even cuts."""
    top_k: int | None
    """Labels in each ranked list."""
    seed: int | None
    """Of the sampled futures."""
    parts: Sequence[str] | None
    """Optional parts wanted, of "evidence" and "scores"; default: both."""
    video_track: int | None
    """Which of the file's video tracks, counted from 0; default: the one it marks as default."""
    timeout_s: float | None
    """When the server should give up."""


class SearchChoices(TypedDict, total=False):
    """Where to look for what is close to a clip; None means the server's default."""

    perspectives: Sequence[str] | None
    """Tasks whose prototypes to search; default: all."""
    segments: Sequence[tuple[float, float]] | None
    """(start_s, end_s) pairs; default: the clip cut evenly."""
    segment_s: float | None
    """Length of those even cuts."""
    top_k: int | None
    """Prototypes in each list."""
    backbone: str | None
    """Whose backpack; default: the first that has one."""
    video_track: int | None
    """Which of the file's video tracks, counted from 0; default: the one it marks as default."""
    timeout_s: float | None
    """When the server should give up."""


KNOWN = sorted({*Choices.__annotations__, *SearchChoices.__annotations__, "webhook_url"})


@dataclass(frozen=True)
class Upload:
    """The large part of a form.

    Attributes:
        part: what it is.
        source: a file, read as it is sent; or its bytes.
        progress: hears of every piece.
    """

    part: Literal["video", "features"]
    source: Clip | bytes
    progress: UploadProgress | None = None


@dataclass(frozen=True)
class ApiRequest:
    """One request.

    Everything we ask may be asked again: questions change nothing, and a job carries a key.

    Attributes:
        method: of HTTP.
        path: below the server's address.
        params: of the query.
        headers: besides the usual.
        json: a body of JSON; beside an upload, the form's `request` part.
        upload: sent as a form.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    upload: Upload | None = None

    @contextmanager
    def body(self, check: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yields the body as httpx takes it; a file is open meanwhile, and read from its start.

        Args:
            check: called before every piece; what it raises ends the upload.

        Raises:
            OSError: the file cannot be read.
        """
        if self.upload is None:
            yield {} if self.json is None else {"json": self.json}
            return
        with _opened(self.upload.source) as file:
            # The file's name stays here: it is nobody else's business.
            part = ("clip", _Watched(file, self.upload.progress, check), "application/octet-stream")
            choices = (None, json.dumps(self.json or {}), "application/json")
            yield {"files": {"request": choices, self.upload.part: part}}


class _Watched:
    """A file as httpx reads it, watched."""

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
    """Returns a request about a clip, or about the features that were made of it.

    Args:
        path: of the endpoint.
        clip: a file.
        features: in the clip's place.
        choices: by the names of the arguments; None is left out.
        progress: hears of the upload.
        headers: besides the usual.

    Raises:
        TypeError: both clip and features, or neither; or a choice that there is not.
    """
    if unknown := choices.keys() - KNOWN:
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(KNOWN)}")
    if (clip is None) == (features is None):
        raise TypeError("give a clip or its features, one of the two")
    upload = (
        Upload("video", clip, progress)
        if clip is not None
        else Upload("features", features if features is not None else b"", progress)
    )
    return ApiRequest(
        "POST", path, headers=headers or {}, json=without_none(choices), upload=upload
    )


def without_none(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the choices that were made, as JSON spells them."""
    names = {"parts": "return"}
    return {names.get(name, name): value for name, value in choices.items() if value is not None}


def new_key() -> str:
    """Returns an idempotency key that nobody used before."""
    return uuid.uuid4().hex
