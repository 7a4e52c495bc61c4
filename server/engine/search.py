"""BackpackSearch: a clip or an action -> the prototypes closest to it, as each task sees them."""

from dataclasses import replace

from server.engine.feature_stage import FeatureStage
from server.engine.request import (
    SearchResult,
    Source,
    StageTimes,
    check_segments,
    look_of,
    predict_request,
    until,
)
from server.scheduling.admission import Admission
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ActionOptions, SearchOptions


class BackpackSearch:
    """Searches on the model's thread, in between the batches that answer tasks."""

    def __init__(
        self, sight: FeatureStage, model: ModelThread, admission: Admission, max_segments: int
    ) -> None:
        """Wires the parts.

        Args:
            sight: makes features of clips.
            model: owns the backpacks.
            admission: measures the work.
            max_segments: most segments of one search.
        """
        self._sight, self._model, self._admission = sight, model, admission
        self._max_segments = max_segments

    async def of_clip(
        self, source: Source, options: SearchOptions, *, deadline_s: float
    ) -> SearchResult:
        """Returns the prototypes closest to a clip's segments.

        Raises:
            SearchInvalid: there is no such backpack or perspective.
            FieldInvalid: more segments than the limit.
            ModelError, ExtractError, DeadlineExceeded: as the engine's `predict` does.
        """
        check_segments(options, self._max_segments)
        look, predictor = look_of(options), self._model.predictor
        async with until(deadline_s):
            with self._admission.work() as work:
                seen = await self._sight.extract(
                    source, options, predictor, work=work, deadline_s=deadline_s
                )
                request = predict_request(seen.track, options, tasks=frozenset())
                ran = await self._model.run(predictor, lambda owner: owner.search(request, look))
        segments, matches = ran.value
        times = replace(seen.times, queue_s=seen.times.queue_s + ran.waited_s, reason_s=ran.ran_s)
        return SearchResult(predictor, matches.backbone, matches.nearest, segments, times)

    async def of_action(self, options: ActionOptions, *, deadline_s: float) -> SearchResult:
        """Returns the prototypes closest to those of one action.

        Raises:
            SearchInvalid: no prototype has this verb and noun, or there is no such backpack or
                perspective.
            DeadlineExceeded: the deadline passed first.
        """
        look, predictor = look_of(options), self._model.predictor
        async with until(deadline_s):
            ran = await self._model.run(
                predictor,
                lambda owner: owner.backpacks.of_action(options.verb, options.noun, look),
            )
        times = StageTimes(queue_s=ran.waited_s, reason_s=ran.ran_s)
        return SearchResult(predictor, ran.value.backbone, ran.value.nearest, [], times)
