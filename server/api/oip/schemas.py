"""JSON bodies of the Open Inference Protocol."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from server.schemas.prediction import Body

MAX_PARAMETERS = 16


def _few(values: object) -> object:
    """Refuses too many parameters before any is looked at."""
    if isinstance(values, dict) and len(values) > MAX_PARAMETERS:
        raise ValueError(f"expected at most {MAX_PARAMETERS} parameters, got {len(values)}")
    return values


Parameters = Annotated[dict[str, bool | int | float | str], BeforeValidator(_few)]
Shape = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(fail_fast=True, max_length=8)]


class _RequestBody(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class InputTensor(_RequestBody):
    """One input tensor."""

    name: Literal["features", "video"]
    shape: Shape
    datatype: Literal["FP32", "BYTES"]
    parameters: Parameters = {}
    """`binary_data_size` if the data follows the JSON."""
    data: list[Any] | None = None
    """Nested or flat, in row-major order; a clip as base64. Absent if it follows the JSON."""


class OutputWish(_RequestBody):
    """One requested output tensor."""

    name: str
    parameters: Parameters = {}
    """`binary_data`: send its data after the JSON."""


class InferRequest(_RequestBody):
    """One inference request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [
                        {"name": "video", "shape": [1], "datatype": "BYTES", "data": ["AAAAIGZ0"]}
                    ],
                    "outputs": [{"name": "ar.verb"}],
                }
            ]
        }
    )

    id: Annotated[str, Field(max_length=200)] | None = None
    """Returned in the response."""
    parameters: Parameters = {}
    """`segment_s` and `seed` as in `/v1/predictions`; `num_frames`: frames of the clip of the
    features, if its last window is not a regular one; `timeout` in microseconds;
    `binary_data_output`."""
    inputs: Annotated[list[InputTensor], Field(fail_fast=True, min_length=1, max_length=1)]
    """A clip, or its features."""
    outputs: Annotated[list[OutputWish], Field(fail_fast=True, max_length=256)] | None = None
    """Requested outputs; default: all."""


class OutputTensor(Body):
    """One output tensor."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    """`binary_data_size` if the data follows the JSON."""
    data: list[float | str] | None = None
    """Flat, in row-major order."""


class InferResponse(Body):
    """The result of one inference."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(Body):
    """Metadata of a tensor; a size of -1 is variable."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Body):
    """Metadata of a model: its input and output tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(Body):
    """Metadata of the server."""

    name: str
    version: str
    extensions: list[str]


class Live(Body):
    """Liveness of the process."""

    live: bool


class Ready(Body):
    """Readiness of the server."""

    ready: bool


class ModelReady(Body):
    """Readiness of a model."""

    name: str
    ready: bool


class Failure(Body):
    """An error of the protocol."""

    error: str
