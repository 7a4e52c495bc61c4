"""What a caller may choose, as a JSON part or as query parameters."""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server.errors import FieldInvalid, MalformedRequest

MAX_TOP_K = 100
MAX_TRACKS = 32
MAX_NAMES = 32
"""Tasks or perspectives in one list."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[list[Name], Field(min_length=1, max_length=MAX_NAMES)]
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K)]
WebhookUrl = Annotated[str, Field(max_length=2048, examples=["https://example.org/hook"])]
Part = Literal["evidence", "scores"]
Model = TypeVar("Model", bound=BaseModel)
Options_co = TypeVar("Options_co", covariant=True)


def _split(values: object) -> object:
    """`a,b` and `a&b` spelled as repeated parameters mean the same list."""
    if isinstance(values, list):
        return [piece for value in values for piece in str(value).split(",")]
    return values


Split = BeforeValidator(_split)


class TimedOptions(BaseModel):
    """How long to wait; a part `request` of this shape may go with the clip."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        frozen=True,
        json_schema_extra={"examples": [{"timeout_s": 10.0}]},
    )

    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Give up after this long; default and maximum are in `/v1/limits`."""


class ClipOptions(TimedOptions):
    """What to read of a clip's file; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"timeout_s": 10.0, "video_track": 1}]}
    )

    video_track: Annotated[int, Field(ge=0, lt=MAX_TRACKS)] | None = None
    """Which of the file's video tracks to read, counted from 0 in the order of the file; default:
    the first that is marked as default, covers aside. Not for features."""


class _Choices(ClipOptions):
    """What the JSON part and the query string have in common."""

    top_k: TopK = 5
    """Entries in each ranked list."""
    segment_s: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] = 8.0
    """Without `segments`, a longer clip is cut every so many seconds."""


class SegmentOptions(_Choices):
    """Which stretches of a clip to look at; every field has a default."""

    segments: Annotated[list[tuple[Seconds, Seconds]], Field(min_length=1)] | None = None
    """Stretches to answer for, `[start_s, end_s]` each, on the clock of the file (its first frame
    is shown at `input.start_s`); default: the clip cut evenly."""


class PredictOptions(SegmentOptions):
    """What to answer about the clip; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tasks": ["ar", "oscc", "pnr"], "segments": [[0.0, 8.0]], "top_k": 3},
                {"tasks": ["lta"], "seed": 7, "return": ["scores"]},
            ]
        }
    )

    tasks: Names | None = None
    """Tasks to answer: any of `ar`, `lta`, `oscc`, `pnr` and the bundle's other skills, as
    `/v1/models` lists them; default: all the model knows."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampled futures; the same request gives the same answer."""
    return_: Annotated[list[Part] | None, Field(alias="return")] = None
    """Optional parts of the answer; default: all of them."""
    webhook_url: WebhookUrl | None = None
    """Whom to tell of the end of a job, with a signed POST; needs `Prefer: respond-async`."""

    def wants(self, part: Part) -> bool:
        """Whether an optional part goes into the answer."""
        return self.return_ is None or part in self.return_


class SearchOptions(SegmentOptions):
    """Where in the backpack to look for what is close to a clip; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"perspectives": ["oscc"], "segment_s": 4.0, "top_k": 3}]}
    )

    perspectives: Names | None = None
    """Tasks whose prototypes to search; default: all in the backpack."""
    backbone: Name | None = None
    """Whose backpack to search; default: the first that has one."""


class ActionOptions(TimedOptions):
    """An action, and where in the backpack to look for what is close to it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verb": "cut", "noun": "carrot", "top_k": 3}]}
    )

    verb: Name
    """Label of the action's verb, as `/v1/taxonomy` spells it."""
    noun: Name
    """Label of the action's noun."""
    top_k: TopK = 5
    """Entries in each ranked list."""
    perspectives: Names | None = None
    """Tasks whose prototypes to search; default: all in the backpack."""
    backbone: Name | None = None
    """Whose backpack to search; default: the first that has one."""


class Query(Protocol[Options_co]):
    """Choices spelled as query parameters; they apply when no JSON part is sent."""

    @property
    def model_fields_set(self) -> set[str]:
        """Parameters that were sent."""

    def to_options(self) -> Options_co:
        """Returns the choices as the JSON part would have given them."""

    def parse(self, part: bytes) -> Options_co:
        """Returns the choices of the JSON part that stands in for this query."""


class ClipQuery(ClipOptions):
    """`ClipOptions` as query parameters."""

    def to_options(self) -> ClipOptions:
        """Returns the choices as the JSON part would have given them."""
        return check_options(ClipOptions, self.model_dump(exclude_unset=True))

    def parse(self, part: bytes) -> ClipOptions:
        """Returns the choices of a JSON part."""
        return parse_options(part, ClipOptions)


class _SegmentQuery(_Choices):
    """Segments as query parameters."""

    segments: list[Annotated[str, Field(max_length=64)]] | None = Field(
        None, examples=[["0,8", "8,16"]]
    )
    """Stretches to answer for, `start_s,end_s` each on the clock of the file, repeated."""

    def values(self) -> dict[str, Any]:
        """Returns what was sent, as the JSON part would have spelled it."""
        values = self.model_dump(exclude_unset=True, by_alias=True)
        if self.segments is not None:
            values["segments"] = [text.split(",") for text in self.segments]
        return values


class PredictQuery(_SegmentQuery):
    """`PredictOptions` as query parameters."""

    tasks: Annotated[list[str] | None, Split] = Field(None, examples=[["ar", "lta"]])
    """Tasks to answer, repeated or separated by commas; default: all the model knows."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampled futures; the same request gives the same answer."""
    return_: Annotated[list[Part] | None, Split] = Field(
        None, alias="return", examples=[["evidence"]]
    )
    """Optional parts of the answer, repeated or separated by commas; default: all of them."""
    webhook_url: WebhookUrl | None = None
    """Whom to tell of the end of a job, with a signed POST; needs `Prefer: respond-async`."""

    def to_options(self) -> PredictOptions:
        """Returns the choices as the JSON part would have given them.

        Raises:
            FieldInvalid: a segment is not two numbers.
        """
        return check_options(PredictOptions, self.values())

    def parse(self, part: bytes) -> PredictOptions:
        """Returns the choices of a JSON part."""
        return parse_options(part, PredictOptions)


class SearchQuery(_SegmentQuery):
    """`SearchOptions` as query parameters."""

    perspectives: Annotated[list[str] | None, Split] = Field(None, examples=[["oscc", "pnr"]])
    """Tasks whose prototypes to search, repeated or separated by commas; default: all."""
    backbone: Name | None = None
    """Whose backpack to search; default: the first that has one."""

    def to_options(self) -> SearchOptions:
        """Returns the choices as the JSON part would have given them.

        Raises:
            FieldInvalid: a segment is not two numbers.
        """
        return check_options(SearchOptions, self.values())

    def parse(self, part: bytes) -> SearchOptions:
        """Returns the choices of a JSON part."""
        return parse_options(part, SearchOptions)


def parse_options(text: bytes, kind: type[Model]) -> Model:
    """Returns the choices in a JSON part, which may begin with a byte order mark.

    Raises:
        MalformedRequest: the part is not JSON.
        FieldInvalid: a field is unknown or wrong.
    """
    try:
        return kind.model_validate_json(text.removeprefix(BOM_UTF8))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the request part is not valid JSON") from error
        raise FieldInvalid(*field_errors(error.errors())) from error


def check_options(kind: type[Model], values: Mapping[str, Any]) -> Model:
    """Returns choices that were spelled in another way than JSON.

    Raises:
        FieldInvalid: a field is unknown or wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise FieldInvalid(*field_errors(error.errors())) from error


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns (JSON pointer, message) for each of pydantic's errors."""
    return [(pointer(*error["loc"]), str(error["msg"])) for error in errors]


def pointer(*path: str | int) -> str:
    """Returns the JSON pointer (RFC 6901) of a path."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
