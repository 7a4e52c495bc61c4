"""Choices of requests that teach: clips to keep, tasks and labels, versions to serve."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator, model_validator

from server.schemas.options import ClipOptions, Seconds

CLIP_NAME = r"^[^\s/\x00-\x1f\x7f]([^/\x00-\x1f\x7f]*[^\s/\x00-\x1f\x7f])?$"
"""A file's name without folder and ending: no slash, no control characters, no blank at an end."""

MAX_LABEL_CHARS = 200
MAX_LABEL_NAMES = 256
"""Different labels of one skill."""

ClipName = Annotated[str, Field(min_length=1, max_length=128, pattern=CLIP_NAME)]
SkillName = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,31}$")]
LabelName = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARS)]
VersionNumber = Annotated[int, Field(ge=1, lt=10**9)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_TASK: dict[str, Any] = {"name": "hand", "kind": "segment", "labels": ["left", "right"]}
_LABEL: dict[str, Any] = {"video": "kitchen-03", "start_s": 1.0, "end_s": 3.0, "label": "left"}


class ClipParameters(ClipOptions):
    """How a clip is kept, as query parameters."""

    name: ClipName
    """What labels call the clip: the name of its file without the ending."""
    keep_video: bool = False
    """Keep the video too, to be looked at later; only where the server allows it."""


class _Options(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, frozen=True
    )


class TaskOptions(_Options):
    """A task of one's own, with the keys of a task file."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TASK]})

    name: SkillName
    """Name of the skill: new to the bundle, or a skill that you have taught."""
    kind: Literal["segment", "graph"]
    """`segment`: what a segment is among its neighbours; `graph`: what it is as a whole."""
    labels: Annotated[list[LabelName], Field(fail_fast=True, max_length=MAX_LABEL_NAMES)] | None = (
        None
    )
    """Labels in the order of their ids; default: those of the labels, sorted."""
    nodes: int | None = None
    """Of kind `segment`: how many segments are looked at, an odd number; default: 9."""
    parts: int | None = None
    """Of kind `graph`: how many parts a segment is cut into; default: 4."""
    reach: float | None = None
    """How near, in nodes, connected ones are; default: 1.5."""
    epochs: int | None = None
    """Of a task file: of training by gradients, so not used here, like the next two."""
    learning_rate: float | None = None
    batch_size: int | None = None

    def values(self) -> dict[str, Any]:
        """Returns the keys that were sent, as those of a task file."""
        return self.model_dump(exclude_none=True)


class LabelOptions(_Options):
    """One labelled segment of a kept clip."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LABEL]})

    video: str
    """Name of one of your kept clips."""
    start_s: Seconds
    """In seconds, as a player of the clip's file shows them."""
    end_s: Seconds
    label: str
    split: Literal["train", "val", "test", ""] | None = None
    """Labels of `val` and `test` are held out and judge the skill; default: `train`."""


class _LabelFields(_Options):
    labels: list[SkipValidation[LabelOptions]] | None = None
    """The labels; either these or `labels_csv`."""
    labels_csv: Annotated[str, Field(min_length=1)] | None = None
    """The same as the text of a labels file: video,start_s,end_s,label and, if wanted, split."""


class LabelledOptions(_LabelFields):
    """Labels, as JSON or as the text of a CSV file."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.labels is None) == (self.labels_csv is None):
            raise ValueError("give either `labels` or `labels_csv`")
        return self


class TeachOptions(LabelledOptions):
    """What to teach."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task": _TASK,
                    "labels": [_LABEL, _LABEL | {"start_s": 4.0, "end_s": 6.0, "label": "right"}],
                    "activate": True,
                },
                {"task": _TASK, "labels_csv": "video,start_s,end_s,label\nkitchen-03,1,3,left\n"},
            ]
        }
    )

    task: TaskOptions
    """The task."""
    none_label: str | None = None
    """The label of segments that are none of the others; the report says how often it is right."""
    method: Literal["auto", "head"] = "auto"
    """`auto`: voters weighed by cross-validation; `head`: a plain logistic head."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Random seed; equal requests learn equal skills."""
    activate: bool = False
    """Serve the skill as soon as it is learnt."""
    threshold: Threshold | None = None
    """With `activate`: least probability of an answer that counts as certain."""
    webhook_url: (
        Annotated[str, Field(max_length=2048, examples=["https://example.org/hook"])] | None
    ) = None
    """URL that receives a signed POST when the job ends."""


class ActivateOptions(_Options):
    """Which version to serve."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2, "threshold": 0.6}]})

    version: VersionNumber
    threshold: Threshold | None = None
    """Least probability of an answer that counts as certain; default: none is said to be."""


class CompareOptions(LabelledOptions):
    """Which two versions to compare, and on which labels."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"versions": [1, 2], "labels": [_LABEL]}]}
    )

    versions: Annotated[
        list[VersionNumber],
        Field(min_length=2, max_length=2, json_schema_extra={"uniqueItems": True}),
    ]
    """Two different ones."""

    @field_validator("versions")
    @classmethod
    def _check_two(cls, found: list[int]) -> list[int]:
        if len(set(found)) != len(found):
            raise ValueError("give two different versions")
        return found


class SuggestOptions(_LabelFields):
    """What is being labelled, and how far that is; labels may be none so far."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"task": _TASK, "labels": [_LABEL], "count": 5}]}
    )

    task: TaskOptions
    count: Annotated[int, Field(ge=1, le=100)] = 5
    """Most segments to suggest."""
    clips: Annotated[list[ClipName], Field(fail_fast=True, min_length=1)] | None = None
    """Names of the kept clips to suggest of; default: all."""
    segment_s: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] | None = None
    """Length of the segments in seconds; default: the median of the labels'."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Random seed; equal requests give equal suggestions."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.labels is not None and self.labels_csv is not None:
            raise ValueError("give either `labels` or `labels_csv`")
        return self
