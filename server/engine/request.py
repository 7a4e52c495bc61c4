"""What passes between the stages of a request, and what is told of them meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from extract.decode.clip import DecodedClip, StreamFacts
from extract.features.track import FeatureTrack
from model.nodes import Bounds
from model.predict.outputs import Neighbour, Prediction
from model.predict.predictor import Predictor

Source = Path | FeatureTrack
"""What a caller sends: a clip, on disk by now, or the features of one."""

Stage = Literal["received", "decoded", "features", "reasoning"]


@dataclass(frozen=True)
class Progress:
    """How far a request has come.

    Attributes:
        stage: the stage that has ended, or, of `features` and `reasoning`, that is under way.
        done: windows encoded so far.
        total: windows of the clip; 0 until it is decoded.
    """

    stage: Stage
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """For requests whose caller waits for the answer alone."""


@dataclass(frozen=True)
class StageTimes:
    """Seconds a request spent waiting and in each stage."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    features_s: float = 0.0
    reason_s: float = 0.0


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """A clip as the model sees it.

    Attributes:
        track: its features.
        clip: what was decoded; None where the features came as such.
        times: of the stages so far.
    """

    track: FeatureTrack
    clip: DecodedClip | StreamFacts | None = None
    times: StageTimes = StageTimes()


@dataclass(frozen=True, eq=False)
class ClipResult:
    """Everything known about a clip once it is answered."""

    predictor: Predictor
    """Who answered; another bundle may be served by now."""
    clip: DecodedClip | StreamFacts | None
    track: FeatureTrack
    prediction: Prediction
    times: StageTimes


@dataclass(frozen=True)
class SearchResult:
    """The prototypes closest to a clip's segments, or to an action.

    Attributes:
        predictor: who searched.
        backbone: whose backpack was searched.
        nearest: per segment, or for the action, perspective -> prototypes, closest first.
        segments: of the clip; none for an action.
        times: of the stages.
    """

    predictor: Predictor
    backbone: str
    nearest: list[dict[str, list[Neighbour]]]
    segments: list[Bounds]
    times: StageTimes
