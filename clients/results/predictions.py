"""Predictions, search results, model metadata and limits, as the server returns them."""

from dataclasses import field
from typing import Any

from clients.results.parsing import Parsed


class Model(Parsed):
    """The bundle that made a prediction."""

    name: str
    version: str
    sha256: str


class Input(Parsed):
    """Properties of the decoded clip."""

    duration_s: float
    fps: float
    width: int
    height: int
    rotation: int
    container: str
    codec: str
    frames_decoded: int
    reader: str
    frames_declared: int | None = None
    start_s: float = 0.0
    mirrored: bool = False
    video_track: int = 0
    video_tracks: int = 1


class Features(Parsed):
    """The feature windows of the clip."""

    encoder: str
    fps: float
    window: int
    stride: int
    count: int


class Ranked(Parsed):
    """One label of a ranked list."""

    id: int
    label: str
    probability: float


class Action(Parsed):
    """Verbs and nouns, most probable first."""

    verb: list[Ranked]
    noun: list[Ranked]


class Oscc(Parsed):
    """Whether an object changes state."""

    state_change: bool
    probability: float


class Pnr(Parsed):
    """A point in time; `frame` is an index into the frames of the file sent."""

    time_s: float
    frame: int
    probability: float
    scores: list[float] | None = None


class SkillAnswer(Parsed):
    """Answer of a skill besides the four about a segment: labels, or an instant.

    `is_certain`: whether the best label reaches the skill's threshold; None where it has none.
    """

    labels: list[Ranked] | None = None
    instant: Pnr | None = None
    is_certain: bool | None = None


class Neighbour(Parsed):
    """A prototype retrieved from the backpack.

    `labels`: label space -> label, where its rows have others than verb and noun.
    """

    similarity: float
    count: int
    verb: str | None = None
    noun: str | None = None
    labels: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """The labels of the row, in one line."""
        words = self.labels.values() if self.labels else (self.verb, self.noun)
        return " ".join(word for word in words if word)


class Example(Parsed):
    """A labelled segment that a skill was learnt from."""

    video: str
    start_s: float
    end_s: float
    label: str
    similarity: float


class Evidence(Parsed):
    """Task -> perspective -> nearest prototypes; output -> voter -> preferred label.

    `examples`: skill -> the nearest of the segments it was learnt from, if it has them.
    """

    neighbours: dict[str, dict[str, list[Neighbour]]] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)
    examples: dict[str, list[Example]] | None = None


class Segment(Parsed):
    """All answers about one segment; tasks that were not requested are None."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    evidence: Evidence | None = None


class JointAction(Parsed):
    """One action of a sampled future."""

    verb: str
    noun: str


class Lta(Parsed):
    """The next actions, and sampled futures."""

    observed: list[int]
    steps: list[Action]
    hypotheses: list[list[JointAction]]
    evidence: Evidence | None = None


class Forecast(Parsed):
    """Forecast of a skill besides the four: ranked labels per future segment."""

    observed: list[int]
    steps: list[list[Ranked]]
    evidence: Evidence | None = None


class Timings(Parsed):
    """Where the server's time went, in milliseconds."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


class Warning_(Parsed):
    """A property of the clip that may degrade the answers."""

    code: str
    detail: str


class PredictionResult(Parsed):
    """The answers about one clip; `input` is None where its features were sent instead."""

    id: str
    model: Model
    features: Features
    segments: list[Segment]
    timings: Timings
    input: Input | None = None
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None
    warnings: list[Warning_] = field(default_factory=list)

    @property
    def start_s(self) -> float:
        """Time of the clip's first frame, on the clock of all times of the answer."""
        if self.input is not None:
            return self.input.start_s
        return min((segment.start_s for segment in self.segments), default=0.0)

    @property
    def duration_s(self) -> float:
        """Length of the clip; without it, up to the last segment's end."""
        if self.input is not None:
            return self.input.duration_s
        return max((segment.end_s for segment in self.segments), default=0.0) - self.start_s

    @property
    def fps(self) -> float:
        """Frame rate of the clip; without it, of the features."""
        return self.features.fps if self.input is None else self.input.fps


class Progress(Parsed):
    """Progress of a request or a job; `windows_total` is 0 until it is known.

    `reason` says why a job is `waiting`.
    """

    stage: str
    windows_done: int = 0
    windows_total: int = 0
    reason: str | None = None


class SegmentMatches(Parsed):
    """Perspective -> closest prototypes, of one segment or, without times, of an action."""

    perspectives: dict[str, list[Neighbour]]
    start_s: float | None = None
    end_s: float | None = None


class BackpackMatches(Parsed):
    """The prototypes closest to a clip or an action."""

    model: Model
    backbone: str
    matches: list[SegmentMatches]
    timings: Timings


class ModelFacts(Parsed):
    """Metadata of a served bundle."""

    name: str
    version: str
    sha256: str
    tasks: list[str]
    label_counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None


class Models(Parsed):
    """The served bundles."""

    models: list[ModelFacts]


class Taxonomy(Parsed):
    """Label space -> its names by id."""

    label_spaces: dict[str, list[str]]


class Limits(Parsed):
    """Limits on requests; those of jobs are None where the server has no jobs."""

    max_upload_bytes: int
    max_duration_s: float
    max_pixels: int
    max_requests: int
    timeout_s: float
    job_max_upload_bytes: int | None = None
    job_max_duration_s: float | None = None
    job_timeout_s: float | None = None
    job_ttl_s: float | None = None
    max_jobs: int | None = None
