"""Live answers: a stream's track so far -> requests to the model, and its answers as JSON.

The present is the segment that ends with the latest window, with the segments before it as its
context: what comes after it is not known yet. A forecast rests on all segments of the stream so
far, cut as a file's are, as far as the predictor looks back.
"""

from typing import Any

from extract.features.track import FeatureTrack
from model.nodes import Bounds, cut_track
from model.predict.outputs import Prediction
from model.predict.predictor import Predictor, PredictRequest
from server.engine import responses
from server.engine.request import ClipResult, StageTimes
from server.live.options import LiveOptions
from server.live.track import LiveTrack


class LiveAnswers:
    """What one stream asks of the model.

    Attributes:
        names_actions: whether its answers name actions.

    Args:
        predictor: answers the whole stream, whatever bundle is served meanwhile.
        options: of the stream.
    """

    def __init__(self, predictor: Predictor, options: LiveOptions) -> None:
        tasks = frozenset(options.tasks or predictor.tasks)
        self._predictor, self._options = predictor, options
        self._present = tasks - predictor.forecasts
        self._forecasts = tasks & predictor.forecasts
        self.names_actions = "ar" in tasks

    def present(self, track: FeatureTrack) -> PredictRequest | None:
        """Returns the request for the latest segment, which is its last; None without a task."""
        if not self._present:
            return None
        cut = sliding_segments(
            track, self._options.segment_s, self._window_s(track), self._predictor.reach
        )
        return self._request(track, self._present, cut)

    def forecast(self, track: FeatureTrack, live: LiveTrack) -> PredictRequest | None:
        """Returns the request for a forecast; None without such a task, or with nothing seen."""
        seen = self.seen_segments(track, live)
        if not self._forecasts or not seen:
            return None
        latest = max(1, self._predictor.look_back + self._predictor.reach)
        return self._request(track, self._forecasts, seen[-latest:])

    def seen_segments(self, track: FeatureTrack, live: LiveTrack) -> list[Bounds]:
        """Returns the segments of the whole stream, without those that were left out."""
        cut = cut_track(track, None, self._options.segment_s)
        return [bounds for bounds in cut if live.is_seen(track, bounds)]

    def answer_fields(
        self, track: FeatureTrack, found: Prediction, lag_ms: float
    ) -> dict[str, Any]:
        """Returns the fields of an `answer`."""
        result = ClipResult(self._predictor, None, track, found, StageTimes())
        body = responses.segment(found.segments[-1], result, self._options.summary)
        fields = body.model_dump(mode="json", exclude_none=True)
        from_s, to_s = fields.pop("start_s"), fields.pop("end_s")
        return {"from_s": from_s, "to_s": to_s, "lag_ms": lag_ms, **fields}

    def forecast_fields(self, at_s: float, found: Prediction, lag_ms: float) -> dict[str, Any]:
        """Returns the fields of a `forecast`."""
        options = self._options.summary
        fields: dict[str, Any] = {"at_s": at_s, "lag_ms": lag_ms}
        if found.lta is not None:
            lta = responses.lta(found.lta, options)
            fields["lta"] = lta.model_dump(mode="json", exclude_none=True)
        if found.skills:
            fields["skills"] = {
                name: responses.forecast(answer, options).model_dump(mode="json", exclude_none=True)
                for name, answer in found.skills.items()
            }
        return fields

    def _window_s(self, track: FeatureTrack) -> float:
        return (self._predictor.encoder.contract.window_frames - 0.5) / track.ticks_per_s

    def _request(
        self, track: FeatureTrack, tasks: frozenset[str], cut: list[Bounds]
    ) -> PredictRequest:
        segments = tuple(cut)
        options = self._options
        return PredictRequest(
            track,
            tasks,
            segments=segments,
            top_k=options.top_k,
            has_evidence=options.evidence,
        )


def sliding_segments(
    track: FeatureTrack, segment_s: float, window_s: float, before: int
) -> list[Bounds]:
    """Returns the segment that ends with a track, after at most `before` earlier ones.

    Args:
        track: of the stream so far.
        segment_s: length of a segment; the first of a stream may be longer, by less than a window,
            or, if it is the only one, shorter.
        window_s: length of a window.
        before: earlier segments.
    """
    cut: list[Bounds] = []
    end_s = track.video_end_s
    while len(cut) <= before:
        start_s = end_s - segment_s
        is_first = start_s - track.origin_s < window_s
        cut.append((track.origin_s if is_first else start_s, end_s))
        if is_first:
            break
        end_s = start_s
    return cut[::-1]
