"""Values of one request on its way through the engine: source, progress, stage times, results.

Also what every request path shares: checks of its options, the model's request made from them,
and the deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from extract.decode.clip import DecodedClip, StreamFacts
from extract.features.track import FeatureTrack
from model.errors import UnknownTask
from model.nodes import Bounds
from model.predict.outputs import Neighbour, Prediction
from model.predict.predictor import Predictor, PredictRequest
from server.errors import DeadlineExceeded, FieldInvalid
from server.schemas.options import PredictOptions, SegmentOptions

Source = Path | FeatureTrack
"""What a caller sent: a clip, by now on disk, or the features of one."""

Stage = Literal["started", "received", "decoded", "features", "reasoning", "learning", "activating"]


@dataclass(frozen=True)
class Progress:
    """Progress of a request.

    Attributes:
        stage: the stage that has ended, or, of `features` and `reasoning`, that is running;
            `started` is of jobs only, `learning` and `activating` of those that teach.
        windows_done: windows encoded so far.
        windows_total: windows of the clip; 0 until it is decoded.
    """

    stage: Stage
    windows_done: int = 0
    windows_total: int = 0


ProgressCallback = Callable[[Progress], None]


PartCallback = Callable[["ClipResult"], Awaitable[None]]
"""Takes the result for some segments, which follow those of the call before."""


def no_progress(_: Progress) -> None:
    """Ignores progress: for callers that wait for the result only."""


@dataclass(frozen=True)
class StageTimes:
    """Seconds a request spent in queues and in each stage."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    features_s: float = 0.0
    reason_s: float = 0.0


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """The features of a clip.

    Attributes:
        track: the features.
        clip: facts of the decoded clip; None where features were sent.
        times: of the stages so far.
    """

    track: FeatureTrack
    clip: DecodedClip | StreamFacts | None = None
    times: StageTimes = StageTimes()


@dataclass(frozen=True, eq=False)
class ClipResult:
    """The prediction for a clip, and what it was made from.

    Attributes:
        predictor: made the prediction; another bundle may be served by now.
        clip: as in `ClipFeatures`.
        track: the features.
        prediction: the answers.
        times: of all stages.
    """

    predictor: Predictor
    clip: DecodedClip | StreamFacts | None
    track: FeatureTrack
    prediction: Prediction
    times: StageTimes

    def without_segments(self) -> "ClipResult":
        """Returns the same without its segments."""
        return replace(self, prediction=replace(self.prediction, segments=[]))


@dataclass(frozen=True)
class BackpackResult:
    """The prototypes closest to a clip's segments, or to an action.

    Attributes:
        predictor: made the search.
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


def check_tasks(options: PredictOptions, predictor: Predictor) -> None:
    """Checks the tasks of a request.

    Raises:
        UnknownTask: the bundle has no such task.
    """
    for task in options.tasks or ():
        if task not in predictor.tasks:
            raise UnknownTask(task, predictor.tasks)


def check_segments(options: SegmentOptions, limit: int) -> None:
    """Checks the number of segments of a request.

    Raises:
        FieldInvalid: there are more than the limit.
    """
    if options.segments is not None and len(options.segments) > limit:
        raise FieldInvalid(("/segments", f"at most {limit} segments"))


def segment_request(track: FeatureTrack, options: SegmentOptions) -> PredictRequest:
    """Returns a model request about the segments of a track, without tasks."""
    return PredictRequest(
        track,
        tasks=frozenset(),
        segments=None if options.segments is None else tuple(options.segments),
        segment_s=options.segment_s,
        top_k=options.top_k,
    )


def predict_request(
    predictor: Predictor, track: FeatureTrack, options: PredictOptions
) -> PredictRequest:
    """Returns a checked model request, for every task of the bundle unless some are named.

    Raises:
        ModelError: as `Predictor.check` does.
    """
    tasks = frozenset(options.tasks or predictor.tasks)
    request = replace(
        segment_request(track, options),
        tasks=tasks,
        seed=options.seed,
        has_evidence=options.wants("evidence"),
    )
    predictor.check(request)
    return request


@asynccontextmanager
async def until(
    deadline_s: float, detail: str = "the deadline passed before the answer was ready"
) -> AsyncIterator[None]:
    """Cancels its body once the deadline has passed.

    Args:
        deadline_s: on the running loop's clock.
        detail: message of the error.

    Raises:
        DeadlineExceeded: it has passed.
    """
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(detail) from error
