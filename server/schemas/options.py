"""Request options: one definition of every field, read from a JSON part or query parameters."""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server.errors import MAX_ERRORS, FieldInvalid, MalformedRequest
from server.schemas.json_bounds import JsonBounds

MAX_OPTIONS_BYTES = 64 * 1024
"""Size of the JSON options sent with a clip."""

MAX_INFERENCE_JSON_BYTES = 16 << 20
"""Size of the JSON of one inference below `/v2`, binary tensors after it not included."""

ON_LOOP_BYTES = 64 * 1024
"""Largest JSON that is parsed on the event loop."""

MAX_TOP_K = 100
MAX_TRACKS = 32
MAX_NAMES = 32
"""Tasks or perspectives in one list."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[list[Name], Field(fail_fast=True, min_length=1, max_length=MAX_NAMES)]
"""Lists fail at their first wrong item: otherwise each of thousands would make an error."""
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K)]
OptionalOutput = Literal["evidence", "scores"]
Model = TypeVar("Model", bound=BaseModel)


class TimedOptions(BaseModel):
    """Options of every request that runs the model."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        frozen=True,
        json_schema_extra={"examples": [{"timeout_s": 10.0}]},
    )

    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Deadline of the request in seconds; default and maximum are in `/v1/limits`."""


class ClipOptions(TimedOptions):
    """How to read a clip's file; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"timeout_s": 10.0, "video_track": 1}]}
    )

    video_track: Annotated[int, Field(ge=0, lt=MAX_TRACKS)] | None = None
    """Which of the file's video tracks to read, counted from 0 in the order of the file; default:
    the first that is marked as default, attached pictures not counted. Not for features."""


class SegmentOptions(ClipOptions):
    """Which segments of a clip to predict; every field has a default."""

    top_k: TopK = 5
    """Entries in each ranked list."""
    segment_s: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] = 8.0
    """Length in seconds of the segments that a longer clip is cut into without `segments`."""
    segments: (
        Annotated[list[tuple[Seconds, Seconds]], Field(fail_fast=True, min_length=1)] | None
    ) = None
    """Segments to predict, `[start_s, end_s]` each, in seconds of the file's presentation time (its
    first frame is shown at `input.start_s`); default: the clip cut into equal segments."""


class PredictOptions(SegmentOptions):
    """What to predict for the clip; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tasks": ["ar", "oscc", "pnr"], "segments": [[0.0, 8.0]], "top_k": 3},
                {"tasks": ["lta"], "seed": 7, "return": ["scores"]},
            ]
        }
    )

    tasks: Names | None = None
    """Tasks to predict: any of `ar`, `lta`, `oscc`, `pnr` and the bundle's other skills, as
    `/v1/models` lists them; default: every task of the bundle."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Random seed of the sampled futures; equal requests give equal predictions."""
    return_: Annotated[
        Annotated[list[OptionalOutput], Field(fail_fast=True, max_length=MAX_NAMES)] | None,
        Field(alias="return"),
    ] = None
    """Optional parts of the response; default: all of them."""
    webhook_url: (
        Annotated[str, Field(max_length=2048, examples=["https://example.org/hook"])] | None
    ) = None
    """URL that receives a signed POST when the job ends; needs `Prefer: respond-async`."""

    def wants(self, part: OptionalOutput) -> bool:
        """Whether an optional part is included in the response."""
        return self.return_ is None or part in self.return_


class _BackpackOptions(TimedOptions):
    perspectives: Names | None = None
    """Tasks whose prototypes to search; default: every task in the backpack."""
    backbone: Name | None = None
    """Backbone whose backpack to search; default: the first that has one."""


class SearchOptions(_BackpackOptions, SegmentOptions):
    """Where in the backpack to search for the prototypes nearest to a clip; all have defaults."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"perspectives": ["oscc"], "segment_s": 4.0, "top_k": 3}]}
    )


class ActionOptions(_BackpackOptions):
    """An action, and where in the backpack to search for the prototypes nearest to it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verb": "cut", "noun": "carrot", "top_k": 3}]}
    )

    verb: Name
    """Label of the action's verb, as `/v1/taxonomy` spells it."""
    noun: Name
    """Label of the action's noun, as `/v1/taxonomy` spells it."""
    top_k: TopK = 5
    """Entries in each ranked list."""


def _split(values: object) -> object:
    """Splits at commas: `a,b` and repeated parameters give the same list."""
    if isinstance(values, list):
        return [piece for value in values for piece in str(value).split(",")]
    return values


_QuerySegments = Annotated[
    list[Annotated[str, Field(max_length=64)]] | None, Field(examples=[["0,8", "8,16"]])
]


class PredictParameters(PredictOptions):
    """`PredictOptions` as query parameters."""

    segments: _QuerySegments = None  # type: ignore[assignment]
    """Segments to predict, `start_s,end_s` each, in seconds of the file's presentation time; may be
    repeated."""
    tasks: Annotated[list[str] | None, BeforeValidator(_split)] = Field(
        None, examples=[["ar", "lta"]]
    )
    """Tasks to predict, repeated or separated by commas; default: every task of the bundle."""
    return_: Annotated[list[OptionalOutput] | None, BeforeValidator(_split)] = Field(
        None, alias="return", examples=[["evidence"]]
    )
    """Optional parts of the response, repeated or separated by commas; default: all of them."""


class SearchParameters(SearchOptions):
    """`SearchOptions` as query parameters."""

    segments: _QuerySegments = None  # type: ignore[assignment]
    """Segments to search for, `start_s,end_s` each, in seconds of the file's presentation time; may
    be repeated."""
    perspectives: Annotated[list[str] | None, BeforeValidator(_split)] = Field(
        None, examples=[["oscc", "pnr"]]
    )
    """Tasks whose prototypes to search, repeated or separated by commas; default: all."""


def parse_options(text: bytes, kind: type[Model], *, bounds: JsonBounds | None = None) -> Model:
    """Returns the options in a JSON part, which may begin with a byte order mark.

    Args:
        text: the part; more than `ON_LOOP_BYTES` are parsed in a thread by the caller.
        kind: what it stands for.
        bounds: that it must keep, with nothing counted yet; default: those of any options.

    Raises:
        MalformedRequest: the part is not JSON.
        FieldInvalid: it exceeds a bound of `JsonBounds`, or a field is unknown or wrong.
    """
    bounds = bounds or JsonBounds()
    bounds.add(text)
    bounds.check_depth(text)
    try:
        # Cut only where there is a mark: a copy of a large text would count.
        return kind.model_validate_json(text[3:] if text.startswith(BOM_UTF8) else text)
    except ValidationError as error:
        errors = _errors_of(error)
        if errors[0]["type"] == "json_invalid":
            raise MalformedRequest("the request part is not valid JSON") from error
        raise FieldInvalid(*field_errors(errors)) from error


def from_query(query: ClipOptions, kind: type[Model]) -> Model:
    """Returns the options that query parameters stand for.

    Raises:
        FieldInvalid: a field is wrong, such as a segment that is not two numbers.
    """
    values = query.model_dump(exclude_unset=True, by_alias=True)
    if values.get("segments") is not None:
        values["segments"] = [text.split(",") for text in values["segments"]]
    return check_options(kind, values)


def check_options(kind: type[Model], values: Mapping[str, Any]) -> Model:
    """Returns options from plain values.

    Raises:
        FieldInvalid: a field is unknown or wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise FieldInvalid(*field_errors(_errors_of(error))) from error


def _errors_of(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    """The errors without the values and addresses that callers do not need."""
    return error.errors(include_url=False, include_context=False, include_input=False)


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns (JSON pointer, message) for each of pydantic's errors, as far as they are sent."""
    return [(pointer(*error["loc"]), str(error["msg"])) for error in errors[:MAX_ERRORS]]


def pointer(*path: str | int) -> str:
    """Returns the JSON pointer (RFC 6901) of a path."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
