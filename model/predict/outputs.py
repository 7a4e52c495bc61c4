"""Prediction dataclasses: labels, seconds, probabilities and evidence of every task."""

from dataclasses import dataclass, field

from model.tasks import AR


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
    """Time of an event, if it happens; `scores` has one entry per sampled instant."""

    time_s: float
    probability: float
    scores: list[float]


class PnrAnswer(InstantAnswer):
    """Time of the state change."""


@dataclass(frozen=True)
class SkillAnswer:
    """A user-defined skill's answer for a segment: one of the two, by its readout.

    Attributes:
        labels: classes, most probable first.
        instant: time of an event.
        is_certain: whether the most probable class reaches the skill's threshold; None without
            one.
    """

    labels: list[Ranked] | None = None
    instant: InstantAnswer | None = None
    is_certain: bool | None = None


@dataclass(frozen=True)
class Neighbour:
    """A prototype retrieved from the backpack: its action, cosine similarity, training count.

    Attributes:
        verb: of the action; None where rows have other labels.
        noun: of the action; None likewise.
        similarity: in [-1, 1].
        count: training segments of the row.
        labels: output -> label, where rows have others than verb and noun.
    """

    verb: str | None
    noun: str | None
    similarity: float
    count: int
    labels: dict[str, str] | None = None

    @classmethod
    def of(cls, labels: dict[str, str], *, similarity: float, count: int) -> "Neighbour":
        """Returns a row of these labels."""
        if labels.keys() == set(AR.outputs):
            return cls(labels["verb"], labels["noun"], similarity, count)
        return cls(None, None, similarity, count, labels)


@dataclass(frozen=True)
class Example:
    """A labelled segment that a skill was learnt from: place, label, mean cosine similarity."""

    video: str
    start_s: float
    end_s: float
    label: str
    similarity: float


@dataclass(frozen=True)
class Evidence:
    """Retrieved prototypes per perspective, and each perspective's vote per output.

    `neighbours[skill][perspective]` and `votes["ar.verb"][perspective]`; the novel task's own
    head votes as "own", and a skill of few labels has other voters besides. `examples[skill]` are
    the nearest of the segments it was learnt from, of such a skill only.
    """

    neighbours: dict[str, dict[str, list[Neighbour]]] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentAnswer:
    """Answers for one segment of the clip; those of tasks not requested are None or absent."""

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
    """A user-defined skill's forecast.

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
    """The answers to one request; `skills` has the forecasts of user-defined skills."""

    segments: list[SegmentAnswer]
    lta: LtaAnswer | None
    skills: dict[str, ForecastAnswer] = field(default_factory=dict)
