"""What a caller may choose, as a JSON part or as query parameters."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server.errors import FieldInvalid, MalformedRequest

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Part = Literal["evidence", "scores"]


class _Choices(BaseModel):
    """What the JSON part and the query string have in common."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, populate_by_name=True, frozen=True
    )

    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """Labels in each ranked list."""
    segment_s: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] = 8.0
    """Without `segments`, a longer clip is cut every so many seconds."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampled futures; the same request gives the same answer."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Give up after this long; default and maximum are in `/v1/limits`."""


class PredictOptions(_Choices):
    """What to answer about the clip; every field has a default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tasks": ["ar", "oscc", "pnr"], "segments": [[0.0, 8.0]], "top_k": 3},
                {"tasks": ["lta"], "seed": 7, "return": ["scores"]},
            ]
        }
    )

    tasks: Annotated[list[str], Field(min_length=1, max_length=32)] | None = None
    """Tasks to answer: any of `ar`, `lta`, `oscc`, `pnr` and the bundle's other skills, as
    `/v1/models` lists them; default: all the model knows."""
    segments: Annotated[list[tuple[Seconds, Seconds]], Field(min_length=1)] | None = None
    """Stretches to answer for, `[start_s, end_s]` each; default: the clip cut evenly."""
    return_: Annotated[list[Part] | None, Field(alias="return")] = None
    """Optional parts of the answer; default: all of them."""

    def wants(self, part: Part) -> bool:
        """Whether an optional part goes into the answer."""
        return self.return_ is None or part in self.return_


def _split(values: object) -> object:
    """`a,b` and `a&b` spelled as repeated parameters mean the same list."""
    if isinstance(values, list):
        return [piece for value in values for piece in str(value).split(",")]
    return values


class PredictQuery(_Choices):
    """The same choices spelled as query parameters; they apply when no JSON part is sent."""

    tasks: Annotated[list[str] | None, BeforeValidator(_split)] = Field(
        None, examples=[["ar", "lta"]]
    )
    """Tasks to answer, repeated or separated by commas; default: all the model knows."""
    segments: list[str] | None = Field(None, examples=[["0,8", "8,16"]])
    """Stretches to answer for, `start_s,end_s` each, repeated."""
    return_: Annotated[list[Part] | None, BeforeValidator(_split)] = Field(
        None, alias="return", examples=[["evidence"]]
    )
    """Optional parts of the answer, repeated or separated by commas; default: all of them."""

    def to_options(self) -> PredictOptions:
        """Returns the choices as the JSON part would have given them.

        Raises:
            FieldInvalid: a segment is not two numbers.
        """
        values = self.model_dump(exclude_unset=True, by_alias=True)
        if self.segments is not None:
            values["segments"] = [text.split(",") for text in self.segments]
        return _checked(values)


def parse_options(text: bytes) -> PredictOptions:
    """Returns the choices in a JSON part.

    Raises:
        MalformedRequest: the part is not JSON.
        FieldInvalid: a field is unknown or wrong.
    """
    try:
        return PredictOptions.model_validate_json(text)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the request part is not valid JSON") from error
        raise FieldInvalid(*field_errors(error.errors())) from error


def _checked(values: dict[str, Any]) -> PredictOptions:
    try:
        return PredictOptions.model_validate(values)
    except ValidationError as error:
        raise FieldInvalid(*field_errors(error.errors())) from error


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns (JSON pointer, message) for each of pydantic's errors."""
    return [(pointer(*error["loc"]), str(error["msg"])) for error in errors]


def pointer(*path: str | int) -> str:
    """Returns the JSON pointer (RFC 6901) of a path."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
