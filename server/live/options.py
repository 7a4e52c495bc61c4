"""Opening message of a live stream: its options, or the token of one whose connection dropped."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from extract.decode.live.protocol import LiveKind
from server.errors import FieldInvalid, MalformedRequest
from server.schemas.options import MAX_OPTIONS_BYTES, Names, PredictOptions, TopK, parse_options

MAX_EVERY = 1024
MAX_RATE = 1000.0

Strides = Annotated[int, Field(ge=1, le=MAX_EVERY)]


class LiveOptions(BaseModel):
    """What a stream is and what is answered; every field has a default."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    tasks: Names | None = None
    """Tasks to answer; default: every task of the bundle."""
    input: LiveKind = "pictures"
    """Single pictures with times, or the pieces of one container."""
    rate: Annotated[float, Field(gt=0, le=MAX_RATE, allow_inf_nan=False)] | None = None
    """Frames a second that stand for the times; default: the times that are sent count."""
    segment_s: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] = 8.0
    """Length in seconds of the segment that is answered, which ends with the latest window."""
    every: Strides = 1
    """Windows from one answer to the next."""
    forecast_every: Annotated[int, Field(ge=0, le=MAX_EVERY)] = 8
    """Windows from one forecast to the next; 0: none before the summary."""
    top_k: TopK = 5
    """Entries in each ranked list."""
    evidence: bool = False
    """Answers come with the prototypes they rest on."""
    skip: bool = True
    """Windows are left out where they cannot be followed; else the sender is slowed down."""
    answers: bool = True
    """Answers are sent; without them, a stream can be followed by its events alone."""
    events: bool = True
    """Send the begin and end of actions."""

    @property
    def summary(self) -> PredictOptions:
        """The options of the summary, which is a prediction for the whole stream."""
        return PredictOptions(
            tasks=self.tasks,
            segment_s=self.segment_s,
            top_k=self.top_k,
            return_=["evidence"] if self.evidence else [],
        )


class LiveResume(BaseModel):
    """Which stream a new connection goes on with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resume: Annotated[str, Field(min_length=1, max_length=200)]
    after: Annotated[int, Field(ge=0)] = 0


def parse_opening(text: str) -> LiveOptions | LiveResume:
    """Returns what the first message says.

    Raises:
        MalformedRequest: it is no JSON object.
        FieldInvalid: a field is unknown or wrong.
    """
    values = parse_object(text)
    if "resume" in values:
        return parse_options(text.encode(), LiveResume)
    return parse_options(text.encode(), LiveOptions)


def parse_object(text: str) -> dict[str, object]:
    """Returns a JSON object of a client.

    Raises:
        MalformedRequest: it is none.
        FieldInvalid: it is too long.
    """
    if len(text) > MAX_OPTIONS_BYTES:
        raise FieldInvalid(("", f"a text message has at most {MAX_OPTIONS_BYTES} characters"))
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("a text message is not valid JSON") from error
    if not isinstance(values, dict):
        raise MalformedRequest("a text message is no JSON object")
    return values
