"""What comes back, as frozen dataclasses.

`from_dict` ignores keys it does not know, so a newer server does not break an older client.
"""

import dataclasses
import functools
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Self, get_args, get_origin

from clients.errors import ServerFault


@dataclass(frozen=True)
class _Result:
    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the value from parsed JSON.

        Raises:
            ServerFault: a key is missing or a value has the wrong shape.
        """
        try:
            return typing.cast(Self, _build(cls, values))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServerFault(f"the answer is not a {cls.__name__}: {error!r}") from error


@dataclass(frozen=True)
class Model(_Result):
    """Which bundle answered."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Input(_Result):
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


@dataclass(frozen=True)
class Features(_Result):
    """The windows the answer rests on."""

    encoder: str
    fps: float
    window: int
    stride: int
    count: int


@dataclass(frozen=True)
class Ranked(_Result):
    """One label of a ranked list."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Action(_Result):
    """Verbs and nouns, most probable first."""

    verb: list[Ranked]
    noun: list[Ranked]


@dataclass(frozen=True)
class Oscc(_Result):
    """Whether an object changes state."""

    state_change: bool
    probability: float


@dataclass(frozen=True)
class Pnr(_Result):
    """When something happens; `frame` counts frames of the file sent."""

    time_s: float
    frame: int
    probability: float
    scores: list[float] | None = None


@dataclass(frozen=True)
class SkillAnswer(_Result):
    """What a skill besides the four says of a segment: labels, or an instant."""

    labels: list[Ranked] | None = None
    instant: Pnr | None = None


@dataclass(frozen=True)
class Neighbour(_Result):
    """A prototype retrieved from the backpack."""

    verb: str
    noun: str
    similarity: float
    count: int


@dataclass(frozen=True)
class Evidence(_Result):
    """Task -> perspective -> nearest prototypes; output -> perspective -> preferred label."""

    neighbours: dict[str, dict[str, list[Neighbour]]] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment(_Result):
    """Everything said about one stretch of the clip; tasks not asked for are None."""

    start_s: float
    end_s: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class JointAction(_Result):
    """One action of a sampled future."""

    verb: str
    noun: str


@dataclass(frozen=True)
class Lta(_Result):
    """The next actions, and sampled futures."""

    observed: list[int]
    steps: list[Action]
    hypotheses: list[list[JointAction]]
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Forecast(_Result):
    """The segments to come as a skill besides the four sees them: ranked labels a step."""

    observed: list[int]
    steps: list[list[Ranked]]
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Timings(_Result):
    """Where the server's time went, in milliseconds."""

    queue_ms: float
    decode_ms: float
    features_ms: float
    reason_ms: float
    total_ms: float


@dataclass(frozen=True)
class Warning_(_Result):
    """Something about the clip that may explain a surprising answer."""

    code: str
    detail: str


@dataclass(frozen=True)
class PredictionResult(_Result):
    """The answers about one clip."""

    id: str
    model: Model
    input: Input
    features: Features
    segments: list[Segment]
    timings: Timings
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None
    warnings: list[Warning_] = field(default_factory=list)


@dataclass(frozen=True)
class SegmentMatches(_Result):
    """Perspective -> closest prototypes, of one segment or, without times, of an action."""

    perspectives: dict[str, list[Neighbour]]
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class BackpackMatches(_Result):
    """What the model has seen that is close to a clip or an action."""

    model: Model
    backbone: str
    matches: list[SegmentMatches]


@dataclass(frozen=True)
class ModelFacts(_Result):
    """What a served bundle says of itself."""

    name: str
    version: str
    sha256: str
    tasks: list[str]
    label_counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits(_Result):
    """The limits a caller can run into."""

    max_upload_bytes: int
    max_duration_s: float
    max_pixels: int
    max_requests: int
    timeout_s: float


def _build(kind: Any, value: Any) -> Any:
    """Returns `value` as a `kind`: a plain type, a dataclass, or lists, dicts, options of them."""
    origin = get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _build(next(arm for arm in get_args(kind) if arm is not type(None)), value)
    if origin is list:
        return [_build(get_args(kind)[0], item) for item in _checked(value, list)]
    if origin is dict:
        inner = get_args(kind)[1]
        return {key: _build(inner, item) for key, item in _checked(value, dict).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints, given = _hints(kind), _checked(value, dict)
        built = {name: _build(hint, given[name]) for name, hint in hints.items() if name in given}
        return kind(**built)
    if kind is float:
        return float(_checked(value, int, float))
    return _checked(value, kind)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Types by field; looking them up anew for each label would cost more than the network."""
    return typing.get_type_hints(kind)


def _checked(value: Any, *kinds: type) -> Any:
    is_number_for_bool = isinstance(value, bool) and bool not in kinds
    if not isinstance(value, kinds) or is_number_for_bool:
        raise TypeError(f"expected {' or '.join(k.__name__ for k in kinds)}, got {value!r:.60}")
    return value
