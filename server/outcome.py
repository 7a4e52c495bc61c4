"""What the engine finds out about a clip."""

from dataclasses import dataclass

from extract.clip import DecodedClip
from extract.track import FeatureTrack
from model.outputs import Prediction
from model.predictor import Predictor


@dataclass(frozen=True)
class StageTimes:
    """Seconds a request spent waiting and in each stage."""

    queue_s: float
    decode_s: float
    features_s: float
    reason_s: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything known about a clip once it is answered."""

    predictor: Predictor
    """Who found it; another bundle may be served by now."""
    clip: DecodedClip
    track: FeatureTrack
    prediction: Prediction
    times: StageTimes
