"""What a caller chose -> what the model is asked."""

from extract.features.track import FeatureTrack
from model.errors import UnknownTask
from model.predict.predictor import Predictor, PredictRequest
from model.predict.search import SearchQuery
from server.errors import FieldInvalid
from server.schemas.options import ActionOptions, PredictOptions, SearchOptions, SegmentOptions


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
