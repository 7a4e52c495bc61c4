"""What comes back, as JSON.

The shapes only: filling them in is `answers.py`, and they know nothing of models or videos.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]


class Body(BaseModel):
    """Base of everything sent back."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class ModelIdentity(Body):
    """Which bundle answered."""

    name: str
    version: str
    sha256: str
    """Hash of the bundle's manifest, hence of every file in it."""


class InputFacts(Body):
    """What the clip turned out to be."""

    start_s: float
    """When the file shows its first frame; every time of the answer is on the same clock."""
    duration_s: float
    """From the first frame to the end of the last one."""
    fps: float
    width: int
    """As shown: turned, and with square pixels."""
    height: int
    rotation: int
    """Degrees counter-clockwise the stored picture was turned by."""
    mirrored: bool
    """Left and right of the stored picture were exchanged before it was turned."""
    video_track: int
    """Which of the file's video tracks was read, counted from 0."""
    video_tracks: int
    """How many it has, attached covers aside."""
    container: str
    codec: str
    frames_declared: int | None
    frames_decoded: int
    """Frames of the file that the encoder's windows look at and that were decoded for them."""
    reader: str
    """Which decoder read it."""


class FeatureFacts(Body):
    """The windows the answer rests on."""

    encoder: str
    fps: float
    """Clock the windows were cut on."""
    window: int
    """Frames in a window."""
    stride: int
    """Frames between two windows."""
    count: int


class RankedLabel(Body):
    """One label of a ranked list."""

    id: int
    label: str
    probability: Probability


class Action(Body):
    """Verbs and nouns, most probable first."""

    verb: list[RankedLabel]
    noun: list[RankedLabel]


class Oscc(Body):
    """Whether an object changes state."""

    state_change: bool
    probability: Probability
    """That a state change happens."""


class Pnr(Body):
    """When something happens in a segment, if it does: for `pnr`, a change of state."""

    time_s: float
    frame: int
    """Index of that instant's frame in the file sent; of features, on their clock."""
    probability: Probability
    scores: list[float] | None = None
    """One per sampled instant; only with `scores`."""


class SkillAnswer(Body):
    """What a skill besides the four says of a segment; which of the two, its kind decides."""

    labels: list[RankedLabel] | None = None
    """What it is, most probable first."""
    instant: Pnr | None = None
    """When it happens, if it does."""


class Neighbour(Body):
    """A prototype retrieved from the backpack."""

    verb: str
    noun: str
    similarity: float
    """Cosine, in [-1, 1]."""
    count: int
    """Training segments the prototype is the mean of."""


class Evidence(Body):
    """Why: what was retrieved, and how each perspective voted."""

    neighbours: dict[str, dict[str, list[Neighbour]]]
    """Task answered -> perspective asked -> its nearest prototypes."""
    votes: dict[str, dict[str, str]]
    """Output (`ar.verb`) -> perspective (`own` is the task's own head) -> label it prefers."""


class Segment(Body):
    """Everything said about one stretch of the clip; tasks not asked for are absent."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    """Skill -> its answer, of the skills that the bundle has besides the four."""
    evidence: Evidence | None = None


class JointAction(Body):
    """One action of a sampled future."""

    verb: str
    noun: str


class Lta(Body):
    """The next actions."""

    observed: list[int]
    """Segments the answer was made from, oldest first."""
    steps: list[Action]
    """One per future action."""
    hypotheses: list[list[JointAction]]
    """Sampled futures."""
    evidence: Evidence | None = None


class Forecast(Body):
    """What a skill besides the four says of the segments to come."""

    observed: list[int]
    """Segments the answer was made from, oldest first."""
    steps: list[list[RankedLabel]]
    """One ranked list per future segment."""
    evidence: Evidence | None = None


class Timings(Body):
    """Where the time went, in milliseconds; `total_ms` starts at the request's first byte."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


class Warning_(Body):
    """Something about the clip that may explain a surprising answer."""

    model_config = ConfigDict(title="Warning")

    code: str
    detail: str


class Prediction(Body):
    """The answers about one clip; parts not asked for are absent."""

    id: str
    model: ModelIdentity
    input: InputFacts | None = None
    """What the clip turned out to be; absent where its features were sent instead."""
    features: FeatureFacts
    segments: list[Segment]
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None
    """Skill -> its forecast, of the skills that the bundle has besides the four."""
    timings: Timings
    warnings: list[Warning_]


class ProgressEvent(Body):
    """How far a request has come; the data of a `progress` event."""

    stage: Literal["received", "decoded", "features", "reasoning"]
    windows_done: int
    windows_total: int
    """0 until the clip is decoded."""


class SegmentMatches(Body):
    """What is closest to one segment, or to the action asked for."""

    start_s: float | None = None
    """Absent for an action."""
    end_s: float | None = None
    perspectives: dict[str, list[Neighbour]]
    """Task -> prototypes as it sees them, closest first."""


class BackpackMatches(Body):
    """The nearest prototypes in the backpack."""

    model: ModelIdentity
    backbone: str
    """Whose backpack was searched."""
    matches: list[SegmentMatches]
    """One per segment, or one for the action."""
    timings: Timings


class FieldProblem(Body):
    """One wrong field."""

    pointer: str
    detail: str


class ProblemBody(Body):
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
