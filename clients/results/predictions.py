"""What comes back, as frozen dataclasses."""

from dataclasses import dataclass, field
from typing import Any

from clients.results.parsing import Parsed


@dataclass(frozen=True)
class Model(Parsed):
    """Which bundle answered."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Input(Parsed):
    """What the clip turned out to be."""

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


@dataclass(frozen=True)
class Features(Parsed):
    """The windows the answer rests on."""

    encoder: str
    fps: float
    window: int
    stride: int
    count: int


@dataclass(frozen=True)
class Ranked(Parsed):
    """One label of a ranked list."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Action(Parsed):
    """Verbs and nouns, most probable first."""

    verb: list[Ranked]
    noun: list[Ranked]


@dataclass(frozen=True)
class Oscc(Parsed):
    """Whether an object changes state."""

    state_change: bool
    probability: float


@dataclass(frozen=True)
class Pnr(Parsed):
    """When something happens; `frame` counts frames of the file sent."""

    time_s: float
    frame: int
    probability: float
    scores: list[float] | None = None


@dataclass(frozen=True)
class SkillAnswer(Parsed):
    """What a skill besides the four says of a segment: labels, or an instant."""

    labels: list[Ranked] | None = None
    instant: Pnr | None = None


@dataclass(frozen=True)
class Neighbour(Parsed):
    """A prototype retrieved from the backpack."""

    verb: str
    noun: str
    similarity: float
    count: int


@dataclass(frozen=True)
class Evidence(Parsed):
    """Task -> perspective -> nearest prototypes; output -> perspective -> preferred label."""

    neighbours: dict[str, dict[str, list[Neighbour]]] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment(Parsed):
    """Everything said about one stretch of the clip; tasks not asked for are None."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class JointAction(Parsed):
    """One action of a sampled future."""

    verb: str
    noun: str


@dataclass(frozen=True)
class Lta(Parsed):
    """The next actions, and sampled futures."""

    observed: list[int]
    steps: list[Action]
    hypotheses: list[list[JointAction]]
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Forecast(Parsed):
    """The segments to come as a skill besides the four sees them: ranked labels a step."""

    observed: list[int]
    steps: list[list[Ranked]]
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Timings(Parsed):
    """Where the server's time went, in milliseconds."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


@dataclass(frozen=True)
class Warning_(Parsed):
    """Something about the clip that may explain a surprising answer."""

    code: str
    detail: str


@dataclass(frozen=True)
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
        """When the clip shows its first frame; every time of the answer is on the same clock."""
        if self.input is not None:
            return self.input.start_s
        return min((segment.start_s for segment in self.segments), default=0.0)

    @property
    def duration_s(self) -> float:
        """Length of the clip; up to the last segment's end where only features were sent."""
        if self.input is not None:
            return self.input.duration_s
        return max((segment.end_s for segment in self.segments), default=0.0) - self.start_s

    @property
    def fps(self) -> float:
        """Frames a second of the clip; of the features' clock where only those were sent."""
        return self.features.fps if self.input is None else self.input.fps


@dataclass(frozen=True)
class Progress(Parsed):
    """How far a request or a job has come; windows in all are 0 until they are known."""

    stage: str
    windows_done: int = 0
    windows_total: int = 0


@dataclass(frozen=True)
class SegmentMatches(Parsed):
    """Perspective -> closest prototypes, of one segment or, without times, of an action."""

    perspectives: dict[str, list[Neighbour]]
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class BackpackMatches(Parsed):
    """What the model has seen that is close to a clip or an action."""

    model: Model
    backbone: str
    matches: list[SegmentMatches]
    timings: Timings


@dataclass(frozen=True)
class ModelFacts(Parsed):
    """What a served bundle says of itself."""

    name: str
    version: str
    sha256: str
    tasks: list[str]
    label_counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None


@dataclass(frozen=True)
class Models(Parsed):
    """What is being served."""

    models: list[ModelFacts]


@dataclass(frozen=True)
class Taxonomy(Parsed):
    """Label space -> its names by id."""

    label_spaces: dict[str, list[str]]


@dataclass(frozen=True)
class Limits(Parsed):
    """The limits a caller can run into; those of jobs are None where there are none."""

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
