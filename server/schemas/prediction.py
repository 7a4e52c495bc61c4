"""Response bodies of predictions, features and searches; `engine/responses.py` fills them in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]


class Body(BaseModel):
    """Base of every response body."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class ModelIdentity(Body):
    """The bundle that made the predictions."""

    name: str
    version: str
    sha256: str
    """Hash of the bundle's manifest, hence of every file in it."""


class InputFacts(Body):
    """Properties of the clip."""

    start_s: float
    """Presentation time of the first frame; every time in the response is on the same clock."""
    duration_s: float
    """Duration from the first frame to the end of the last one."""
    fps: float
    width: int
    """As displayed: rotated, and with square pixels."""
    height: int
    rotation: int
    """Rotation of the stored frames in degrees counter-clockwise."""
    mirrored: bool
    """Whether the stored frames were mirrored left to right before the rotation."""
    video_track: int
    """Which of the file's video tracks was read, counted from 0."""
    video_tracks: int
    """Number of video tracks, attached pictures not counted."""
    container: str
    codec: str
    frames_declared: int | None
    frames_decoded: int
    """Frames of the file that were decoded for the encoder's windows."""
    reader: str
    """Decoder that was used."""


class FeatureFacts(Body):
    """The windows that the predictions are made from."""

    encoder: str
    fps: float
    """Frame rate at which the windows were cut."""
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
    """Probability of a state change."""


class Pnr(Body):
    """When an event happens in a segment, if it does; of `pnr`: the point of no return."""

    time_s: float
    frame: int
    """Index of the frame in the file, or on the clock of the features."""
    probability: Probability
    scores: list[float] | None = None
    """One per candidate instant; only with `scores`."""


class SkillAnswer(Body):
    """Output for one segment of a skill besides the four tasks; one of the two, by its kind."""

    labels: list[RankedLabel] | None = None
    """Labels, most probable first."""
    instant: Pnr | None = None
    """When the event happens, if it does."""
    is_certain: bool | None = None
    """Whether the most probable label reaches the threshold of the skill; absent where it has
    none."""


class Neighbour(Body):
    """A prototype retrieved from the backpack."""

    verb: str | None = None
    """Absent, like `noun`, where the rows of the backpack have other labels."""
    noun: str | None = None
    similarity: float
    """Cosine similarity, in [-1, 1]."""
    count: int
    """Training segments averaged in the prototype."""
    labels: dict[str, str] | None = None
    """Label space -> label, of a backpack whose rows have others than verb and noun."""


class Example(Body):
    """A labelled segment that a skill was learnt from."""

    video: str
    """As the labels file names it."""
    start_s: float
    end_s: float
    label: str
    similarity: float
    """Mean cosine similarity over the perspectives, in [-1, 1]."""


class Evidence(Body):
    """Evidence: the retrieved prototypes, each vote, and a skill's own nearest examples."""

    neighbours: dict[str, dict[str, list[Neighbour]]]
    """Task predicted -> perspective -> its nearest prototypes."""
    votes: dict[str, dict[str, str]]
    """Output (`ar.verb`) -> perspective, or another voter of a skill learnt from few labels (`own`
    is the task's own head) -> its top label."""
    examples: dict[str, list[Example]] | None = None
    """Skill -> the labelled segments it was learnt from that are nearest to this one; absent where
    no skill has any."""


class Segment(Body):
    """Predictions for one segment of the clip; tasks not requested are absent."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    """Skill -> its output, of the bundle's skills besides the four tasks."""
    evidence: Evidence | None = None


class JointAction(Body):
    """One action of a sampled future."""

    verb: str
    noun: str


class Lta(Body):
    """Long-term anticipation: the next actions."""

    observed: list[int]
    """Indices of the observed segments, oldest first."""
    steps: list[Action]
    """One per future action, as the forecaster's samples expect it where the bundle has a sequence
    forecaster (each step's mean distribution over the samples), else as LTA's graph does."""
    hypotheses: list[list[JointAction]]
    """Five sampled futures, seeded; of bundles that say so, the five of 40 samples whose expected
    best-of-five edit distance is least, the most typical one first."""
    evidence: Evidence | None = None


class Forecast(Body):
    """Output for future segments of a skill besides the four tasks."""

    observed: list[int]
    """Indices of the observed segments, oldest first."""
    steps: list[list[RankedLabel]]
    """One ranked list per future segment."""
    evidence: Evidence | None = None


class Timings(Body):
    """Time per stage in milliseconds; `total_ms` starts at the request's first byte."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


class Warning_(Body):
    """A property of the clip that may explain an unexpected prediction."""

    model_config = ConfigDict(title="Warning")

    code: str
    detail: str


class Prediction(Body):
    """The predictions for one clip; parts not requested are absent."""

    id: str
    model: ModelIdentity
    input: InputFacts | None = None
    """Properties of the clip; absent where its features were sent instead."""
    features: FeatureFacts
    segments: list[Segment]
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None
    """Skill -> its forecast, of the bundle's skills besides the four tasks."""
    timings: Timings
    warnings: list[Warning_]


class ProgressEvent(Body):
    """Progress of a request: the data of a `progress` event."""

    stage: Literal["received", "decoded", "features", "reasoning"]
    windows_done: int
    windows_total: int
    """0 until the clip is decoded."""


class SegmentMatches(Body):
    """Prototypes nearest to one segment, or to the action."""

    start_s: float | None = None
    """Absent for an action."""
    end_s: float | None = None
    perspectives: dict[str, list[Neighbour]]
    """Task -> its prototypes, nearest first."""


class BackpackMatches(Body):
    """The nearest prototypes in the backpack."""

    model: ModelIdentity
    backbone: str
    """Backbone whose backpack was searched."""
    matches: list[SegmentMatches]
    """One per segment, or one for the action."""
    timings: Timings


class FieldProblem(Body):
    """One wrong field."""

    pointer: str
    detail: str


class ProblemBody(Body):
    """Problem details of a request that failed (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str
    """Stable URI of the problem type."""
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
    """The limits that explain the problem."""
