"""What comes back, as JSON.

The shapes only: filling them in is `answers.py`, and they know nothing of models or videos.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]


class _Body(BaseModel):
    """Base of everything sent back."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class ModelIdentity(_Body):
    """Which bundle answered."""

    name: str
    version: str
    sha256: str
    """Hash of the bundle's manifest, hence of every file in it."""


class InputFacts(_Body):
    """What the clip turned out to be."""

    duration_s: float
    fps: float
    width: int
    height: int
    rotation: int
    """Degrees counter-clockwise the stored picture was turned by; sizes are as shown."""
    container: str
    codec: str
    frames_declared: int | None
    frames_decoded: int
    reader: str
    """Which decoder read it."""


class FeatureFacts(_Body):
    """The windows the answer rests on."""

    encoder: str
    fps: float
    """Clock the windows were cut on."""
    window: int
    """Frames in a window."""
    stride: int
    """Frames between two windows."""
    count: int


class RankedLabel(_Body):
    """One label of a ranked list."""

    id: int
    label: str
    probability: Probability


class Action(_Body):
    """Verbs and nouns, most probable first."""

    verb: list[RankedLabel]
    noun: list[RankedLabel]


class Oscc(_Body):
    """Whether an object changes state."""

    state_change: bool
    probability: Probability
    """That a state change happens."""


class Pnr(_Body):
    """When something happens in a segment, if it does: for `pnr`, a change of state."""

    time_s: float
    frame: int
    """Index of that instant's frame in the file sent."""
    probability: Probability
    scores: list[float] | None = None
    """One per sampled instant; only with `scores`."""


class SkillAnswer(_Body):
    """What a skill besides the four says of a segment; which of the two, its kind decides."""

    labels: list[RankedLabel] | None = None
    """What it is, most probable first."""
    instant: Pnr | None = None
    """When it happens, if it does."""


class Neighbour(_Body):
    """A prototype retrieved from the backpack."""

    verb: str
    noun: str
    similarity: float
    """Cosine, in [-1, 1]."""
    count: int
    """Training segments the prototype is the mean of."""


class Evidence(_Body):
    """Why: what was retrieved, and how each perspective voted."""

    neighbours: dict[str, dict[str, list[Neighbour]]]
    """Task answered -> perspective asked -> its nearest prototypes."""
    votes: dict[str, dict[str, str]]
    """Output (`ar.verb`) -> perspective (`own` is the task's own head) -> label it prefers."""


class Segment(_Body):
    """Everything said about one stretch of the clip; tasks not asked for are absent."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    """Skill -> its answer, of the skills that the bundle has besides the four."""
    evidence: Evidence | None = None


class JointAction(_Body):
    """One action of a sampled future."""

    verb: str
    noun: str


class Lta(_Body):
    """The next actions."""

    observed: list[int]
    """Segments the answer was made from, oldest first."""
    steps: list[Action]
    """One per future action."""
    hypotheses: list[list[JointAction]]
    """Sampled futures."""
    evidence: Evidence | None = None


class Forecast(_Body):
    """What a skill besides the four says of the segments to come."""

    observed: list[int]
    """Segments the answer was made from, oldest first."""
    steps: list[list[RankedLabel]]
    """One ranked list per future segment."""
    evidence: Evidence | None = None


class Timings(_Body):
    """Where the time went, in milliseconds; `total_ms` starts at the request's first byte."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


class Warning_(_Body):
    """Something about the clip that may explain a surprising answer."""

    model_config = ConfigDict(title="Warning")

    code: str
    detail: str


class Prediction(_Body):
    """The answers about one clip; parts not asked for are absent."""

    id: str
    model: ModelIdentity
    input: InputFacts
    features: FeatureFacts
    segments: list[Segment]
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None
    """Skill -> its forecast, of the skills that the bundle has besides the four."""
    timings: Timings
    warnings: list[Warning_]


class Encoder(_Body):
    """The video encoder of a bundle."""

    name: str
    fingerprint: str
    dim: int


class Skill(_Body):
    """One task a bundle answers."""

    backbone: str
    perspectives: list[str]
    outputs: list[str]
    """Label spaces it answers in; their names are in `/v1/taxonomy`."""


class ModelFacts(ModelIdentity):
    """What a bundle says of itself."""

    tasks: list[str]
    encoder: Encoder
    skills: dict[str, Skill]
    label_counts: dict[str, int]
    """Label space -> number of labels; the labels are in `/v1/taxonomy`."""
    metrics: dict[str, dict[str, dict[str, float]]]
    """Split -> task -> metric -> value, as measured when the bundle was made."""
    licence: str | None = None
    backbone_passes: int
    """Backbone passes made since the server started."""


class Models(_Body):
    """The models being served."""

    models: list[ModelFacts]


class Taxonomy(_Body):
    """Names by id for every label space."""

    model: ModelIdentity
    label_spaces: dict[str, list[str]]


class Limits(_Body):
    """Every limit in force."""

    max_upload_bytes: int
    upload_timeout_s: float
    max_duration_s: float
    max_frames: int
    max_pixels: int
    max_clip_pixels: int
    max_fps: float
    max_segments: int
    decode_wall_s: float
    max_requests: int
    max_queued_windows: int
    max_spool_bytes: int
    timeout_s: float
    """Default deadline of a request, and the longest it may ask for."""


class Health(_Body):
    """A probe's answer."""

    status: Literal["alive", "ready"]
    checks: dict[str, str] | None = None
    """What readiness rests on; only with `verbose`."""


class FieldProblem(_Body):
    """One wrong field."""

    pointer: str
    detail: str


class ProblemBody(_Body):
    """Why there is no answer (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str
    """Stable URI of this kind of problem."""
    title: str
    status: int
    detail: str
    instance: str
    """URN of this occurrence."""
    code: str
    """Stable slug; switch on this."""
    request_id: str
    retryable: bool
    """Whether the same request may succeed later."""
    errors: list[FieldProblem] | None = None
    limits: dict[str, float] | None = None
    """The limits that explain the refusal."""
