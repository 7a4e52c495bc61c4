"""What passes between the stages of a request, and what is told of them meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from extract.decode.clip import DecodedClip, StreamFacts
from extract.features.track import FeatureTrack
from model.errors import UnknownTask
from model.predict.outputs import Neighbour, Prediction
from model.predict.predictor import Predictor, PredictRequest
from model.predict.search import SearchQuery
from model.track_nodes import Bounds
from server.errors import DeadlineExceeded, FieldInvalid
from server.schemas.options import ActionOptions, PredictOptions, SearchOptions, SegmentOptions

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


@asynccontextmanager
async def until(
    deadline_s: float, detail: str = "the deadline passed before the answer was ready"
) -> AsyncIterator[None]:
    """Cancels what is inside once an instant has passed.

    Args:
        deadline_s: on the running loop's clock.
        detail: what the caller is told.

    Raises:
        DeadlineExceeded: it has passed.
    """
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(detail) from error


def check_tasks(options: PredictOptions, predictor: Predictor) -> None:
    """Raises unless every task asked for is known.

    Raises:
        UnknownTask: one is not.
    """
    for task in options.tasks or ():
        if task not in predictor.tasks:
            raise UnknownTask(task, predictor.tasks)


def check_segments(options: SegmentOptions, limit: int) -> None:
    """Raises if more segments were given than are answered.

    Raises:
        FieldInvalid: there are too many.
    """
    if options.segments is not None and len(options.segments) > limit:
        raise FieldInvalid(("/segments", f"at most {limit} segments"))


def predict_request(
    track: FeatureTrack, options: SegmentOptions, *, tasks: frozenset[str], seed: int = 0
) -> PredictRequest:
    """Returns the question about one track.

    Args:
        track: features of the clip.
        options: which segments, and how long the lists about each are.
        tasks: to answer.
        seed: of the sampled futures.
    """
    return PredictRequest(
        track,
        tasks=tasks,
        segments=None if options.segments is None else tuple(options.segments),
        segment_s=options.segment_s,
        top_k=options.top_k,
        seed=seed,
    )


def look_of(options: SearchOptions | ActionOptions) -> SearchQuery:
    """Returns what to look for in the backpack."""
    asked = None if options.perspectives is None else tuple(options.perspectives)
    return SearchQuery(asked, options.backbone, options.top_k)
