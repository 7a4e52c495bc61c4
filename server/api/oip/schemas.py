"""What the protocol sends and takes as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.schemas.prediction import Body

Parameters = dict[str, bool | int | float | str]
Shape = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=8)]


class _Sent(BaseModel):
    """Base of everything taken."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class InputTensor(_Sent):
    """One tensor sent."""

    name: Literal["features", "video"]
    shape: Shape
    datatype: Literal["FP32", "BYTES"]
    parameters: Parameters = {}
    """`binary_data_size` where the data comes after the JSON."""
    data: list[Any] | None = None
    """Nested or flat, in row-major order; a clip as base64. Absent where it comes after."""


class OutputWish(_Sent):
    """One tensor wanted."""

    name: str
    parameters: Parameters = {}
    """`binary_data`: send it after the JSON."""


class InferRequest(_Sent):
    """One inference."""

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
    """Sent back."""
    parameters: Parameters = {}
    """`segment_s` and `seed` as in `/v1/predictions`; `num_frames`, of the clip that features are
    of, where its last window is not a regular one; `timeout` in microseconds;
    `binary_data_output`."""
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    """A clip, or its features."""
    outputs: Annotated[list[OutputWish], Field(max_length=256)] | None = None
    """Default: all."""


class OutputTensor(Body):
    """One tensor sent back."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    """`binary_data_size` where the data comes after the JSON."""
    data: list[float | str] | None = None
    """Flat, in row-major order."""


class InferResponse(Body):
    """One inference's result."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(Body):
    """What a tensor is like; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Body):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(Body):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class Live(Body):
    """The process answers."""

    live: bool


class Ready(Body):
    """Work is welcome."""

    ready: bool


class ModelReady(Body):
    """The model answers."""

    name: str
    ready: bool


class Failure(Body):
    """Why there is no answer."""

    error: str
