"""Kept clips, taught skills, their reports, comparisons and suggestions."""

from dataclasses import field
from typing import Any

from clients.results.parsing import Parsed


class KeptClip(Parsed):
    """A clip that the server keeps to learn from, under the name that labels call it."""

    id: str
    name: str
    duration_s: float
    has_video: bool
    created_at: str
    start_s: float = 0.0


class KeptClips(Parsed):
    """The clips that the caller keeps, and how many it may."""

    clips: list[KeptClip]
    limit: int


class Accuracy(Parsed):
    """How often held-out labels are predicted, with a 95 % interval.

    `frequent`: what always saying the most frequent label would get right; `head_right`: what the
    plain head alone gets right.
    """

    right: int
    held_out: int
    share: float
    low: float
    high: float
    frequent: float
    head_right: int


class Confusion(Parsed):
    """Held-out labels: rows are the truth, columns what was answered."""

    labels: list[str]
    counts: list[list[int]]


class Voter(Parsed):
    """A part of a skill, with its weight."""

    name: str
    weight: float
    about: str = ""


class CurvePoint(Parsed):
    """Accuracy with a number of labels, and a 95 % interval."""

    labels: int
    accuracy: float
    low: float
    high: float


class ThresholdRow(Parsed):
    """What is answered where less probable answers are withheld, and how well.

    `precision` is of what is answered, None where nothing is; `recall` of all held-out labels.
    """

    threshold: float
    answered: float
    recall: float
    precision: float | None = None


class Report(Parsed):
    """What a version of a skill has learnt, and how far to trust it.

    `forecast`: what ten more labels would likely bring; `none`: how often the label for none of
    the others is right.
    """

    name: str
    version: int
    kind: str
    labels: list[str]
    count: dict[str, int]
    method: str
    seed: int
    words: str
    confusion: Confusion
    voters: list[Voter]
    thresholds: list[ThresholdRow]
    accuracy: Accuracy | None = None
    held_out_by: str | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    forecast: CurvePoint | None = None
    threshold: float | None = None
    none: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    bundle_sha256: str = ""


class VersionSummary(Parsed):
    """One version of a skill; `other-bundle`: taught on another bundle than is served."""

    version: int
    created_at: str
    labels: int
    status: str
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    frequent: float | None = None
    threshold: float | None = None


class Skill(Parsed):
    """A skill that was taught over HTTP; `active_version` is served, None: none is."""

    name: str
    owner_is_you: bool
    kind: str
    labels: list[str]
    versions: list[VersionSummary]
    active_version: int | None = None


class Skills(Parsed):
    """Taught skills."""

    skills: list[Skill]


class Suggestion(Parsed):
    """A segment worth a label; `votes` are what the skill says of it so far."""

    video: str
    start_s: float
    end_s: float
    disagreement: float
    distance: float
    why: str
    votes: dict[str, float] = field(default_factory=dict)


class Suggestions(Parsed):
    """Segments worth a label, the best first."""

    segments: list[Suggestion]


class Comparison(Parsed):
    """Two versions on the same labels: accuracies by version, their difference with an interval.

    `learnt`: how many of the labels a version was taught with; on these it is too good.
    """

    labels: int
    accuracy: dict[str, float]
    both_right: int
    difference: float
    low: float
    high: float
    learnt: dict[str, int] = field(default_factory=dict)
