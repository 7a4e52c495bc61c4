"""Typed answers: what a prediction is once logits have become labels, seconds and probabilities."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ranked:
    """One label of a ranked list."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True)
class ArAnswer:
    """The action of a segment: verbs and nouns, most probable first."""

    verb: list[Ranked]
    noun: list[Ranked]


@dataclass(frozen=True)
class OsccAnswer:
    """Whether an object changes state in the segment."""

    state_change: bool
    probability: float


@dataclass(frozen=True)
class InstantAnswer:
    """When something happens, if it does: `scores` has one entry per sampled instant."""

    time_s: float
    probability: float
    scores: list[float]


class PnrAnswer(InstantAnswer):
    """When the state changes."""


@dataclass(frozen=True)
class SkillAnswer:
    """What a skill besides the four says of a segment: one of the two, as its readout has it.

    Attributes:
        labels: what it is, most probable first.
        instant: when it happens.
    """

    labels: list[Ranked] | None = None
    instant: InstantAnswer | None = None


@dataclass(frozen=True)
class Neighbour:
    """A prototype retrieved from the backpack: its action, cosine similarity, training count."""

    verb: str
    noun: str
    similarity: float
    count: int


@dataclass(frozen=True)
class Evidence:
    """Why: retrieved prototypes per perspective, and how each perspective voted per output.

    `neighbours[skill][perspective]` and `votes["ar.verb"][perspective]`; the novel task's own
    head votes as "own".
    """

    neighbours: dict[str, dict[str, list[Neighbour]]] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentAnswer:
    """Everything said about one stretch of the clip; tasks not asked for are None or absent."""

    start_s: float
    end_s: float
    ar: ArAnswer | None
    oscc: OsccAnswer | None
    pnr: PnrAnswer | None
    evidence: Evidence
    skills: dict[str, SkillAnswer] = field(default_factory=dict)


@dataclass(frozen=True)
class LtaStep:
    """One future action: verbs and nouns, most probable first."""

    verb: list[Ranked]
    noun: list[Ranked]


@dataclass(frozen=True)
class LtaAnswer:
    """The next actions, after the observed segments.

    Attributes:
        observed: indices of the segments observed, oldest first.
        steps: one entry per future action.
        hypotheses: sampled futures, each a list of (verb, noun) labels.
        evidence: as for a segment.
    """

    observed: list[int]
    steps: list[LtaStep]
    hypotheses: list[list[tuple[str, str]]]
    evidence: Evidence


@dataclass(frozen=True)
class ForecastAnswer:
    """What a skill besides the four says of the future.

    Attributes:
        observed: indices of the segments observed, oldest first.
        steps: one ranked list per future segment.
        evidence: as for a segment.
    """

    observed: list[int]
    steps: list[list[Ranked]]
    evidence: Evidence


@dataclass(frozen=True)
class Prediction:
    """The answers to one request; `skills` has the forecasts of skills besides the four."""

    segments: list[SegmentAnswer]
    lta: LtaAnswer | None
    skills: dict[str, ForecastAnswer] = field(default_factory=dict)
