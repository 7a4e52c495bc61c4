"""Response bodies of teaching: kept clips, skills, their versions and reports."""

from typing import Any, Literal

from pydantic import ConfigDict

from server.schemas.prediction import Body, Probability


class Clip(Body):
    """A clip that is kept to learn from: its features, and its video if that was wanted."""

    id: str
    name: str
    """As labels name it."""
    duration_s: float
    start_s: float
    """When its first frame is shown, on the clock of its file."""
    has_video: bool
    created_at: str


class Clips(Body):
    """The clips that the caller keeps."""

    clips: list[Clip]
    limit: int
    """Most clips that it may keep."""
    keeps_videos: bool
    """Whether `keep_video` is allowed."""


class Held(Body):
    """How often held-out labels are predicted, with a 95 % interval."""

    right: int
    held_out: int
    share: Probability
    low: Probability
    high: Probability
    frequent: Probability
    """Share of the most frequent label: what always saying it would get right."""
    head_right: int
    """How many the plain head alone gets right."""


class Confusion(Body):
    """Held-out labels by truth and answer."""

    labels: list[str]
    counts: list[list[int]]
    """A row for each true label, a column for each answer."""


class Voter(Body):
    """A part of a skill, with its weight."""

    name: str
    weight: float
    about: str


class ThresholdRow(Body):
    """What is answered, and how well, where less probable answers are withheld."""

    threshold: Probability
    answered: Probability
    """Share of held-out labels that are answered."""
    precision: Probability | None = None
    """Share of these that are right; null where none is."""
    recall: Probability
    """Share of all held-out labels that are answered and right."""


class CurvePoint(Body):
    """Accuracy with a number of labels."""

    labels: int
    accuracy: Probability
    low: Probability
    high: Probability


class Report(Body):
    """What one version has learnt, and how far to trust it."""

    name: str
    version: int
    kind: str
    labels: list[str]
    count: dict[str, int]
    """Label -> how many were learnt from."""
    method: str
    seed: int
    bundle_sha256: str
    """Of the bundle that it was taught on."""
    accuracy: Held | None = None
    """Null where the labels are too few to hold any out."""
    held_out_by: str | None = None
    """`cross-validation`, `val` or `test`."""
    words: str
    """The same in a sentence."""
    confusion: Confusion
    voters: list[Voter]
    curve: list[CurvePoint] = []
    forecast: CurvePoint | None = None
    """What ten more labels would likely bring."""
    thresholds: list[ThresholdRow]
    threshold: Probability | None = None
    """Of the version being served, if one is set."""
    none: dict[str, Any] | None = None
    """How often the label for none of the others is right."""
    notes: list[str]


class VersionSummary(Body):
    """One version of a skill."""

    version: int
    created_at: str
    labels: int
    """Number of labels it was learnt from."""
    accuracy: Probability | None = None
    low: Probability | None = None
    high: Probability | None = None
    frequent: Probability | None = None
    status: Literal["usable", "other-bundle"]
    """`other-bundle`: it was taught on another bundle than the one being served."""
    threshold: Probability | None = None
    """Of the version being served, if one is set."""


class TaughtSkill(Body):
    """A skill that was taught over HTTP."""

    name: str
    owner_is_you: bool
    kind: str
    labels: list[str]
    """Of the version being served, else of the latest."""
    active_version: int | None = None
    """Which version is served; null: none."""
    versions: list[VersionSummary]
    """Of another caller's skill, the version being served alone."""


class TaughtSkills(Body):
    """Your skills, and those of others that are served."""

    skills: list[TaughtSkill]


class Comparison(Body):
    """Two versions on the same labels; `only_N_right` counts what version N alone predicts."""

    model_config = ConfigDict(extra="allow")

    labels: int
    accuracy: dict[str, Probability]
    """Version -> share of the labels that it predicts."""
    both_right: int
    difference: float
    """Accuracy of the second less that of the first, with a 95 % interval over labels."""
    low: float
    high: float
    learnt: dict[str, int]
    """Version -> how many of the labels it was learnt from: on these it is too good."""


class Suggestion(Body):
    """A segment of a kept clip that is worth a label."""

    video: str
    start_s: float
    end_s: float
    votes: dict[str, Probability]
    """What a skill of the labels so far says of it; empty before there is one."""
    disagreement: Probability
    """How much the voters differ."""
    distance: Probability
    """How unlike all labelled and earlier suggested segments it is."""
    why: str


class Suggestions(Body):
    """Segments to label next, the best first; each is unlike those before it."""

    segments: list[Suggestion]
