"""Backpack search: a clip or an action -> its nearest prototypes in each task's perspective."""

from dataclasses import replace

from model.predict.search import SearchQuery
from server.engine.feature_stage import FeatureStage
from server.engine.request import (
    BackpackResult,
    Source,
    StageTimes,
    check_segments,
    segment_request,
    until,
)
from server.scheduling.admission import Admission
from server.scheduling.model_thread import ModelThread
from server.schemas.options import ActionOptions, SearchOptions


class BackpackSearch:
    """Searches on the model's thread, in between the micro-batches."""

    def __init__(
        self,
        feature_stage: FeatureStage,
        model: ModelThread,
        admission: Admission,
        max_segments: int,
    ) -> None:
        self._feature_stage, self._model, self._admission = feature_stage, model, admission
        self._max_segments = max_segments

    async def of_clip(
        self, source: Source, options: SearchOptions, *, deadline_s: float
    ) -> BackpackResult:
        """Returns the prototypes closest to a clip's segments.

        Raises:
            SearchInvalid: there is no such backpack or perspective.
            FieldInvalid: more segments than the limit.
            ModelError, ExtractError, DeadlineExceeded: as the engine's `predict` does.
        """
        check_segments(options, self._max_segments)
        query, predictor = _query(options), self._model.predictor
        async with until(deadline_s):
            with self._admission.work() as clip:
                found = await self._feature_stage.extract(
                    source, options, predictor, work=clip, deadline_s=deadline_s
                )
                request = segment_request(found.track, options)
                ran = await self._model.run(predictor, lambda owner: owner.search(request, query))
        segments, result = ran.value
        times = replace(found.times, queue_s=found.times.queue_s + ran.waited_s, reason_s=ran.ran_s)
        return BackpackResult(predictor, result.backbone, result.nearest, segments, times)

    async def of_action(self, options: ActionOptions, *, deadline_s: float) -> BackpackResult:
        """Returns the prototypes closest to those of one action.

        Raises:
            SearchInvalid: no prototype has this verb and noun, or there is no such backpack or
                perspective.
            DeadlineExceeded: the deadline passed first.
        """
        query, predictor = _query(options), self._model.predictor
        async with until(deadline_s):
            ran = await self._model.run(
                predictor,
                lambda owner: owner.backpacks.of_action(options.verb, options.noun, query),
            )
        times = StageTimes(queue_s=ran.waited_s, reason_s=ran.ran_s)
        return BackpackResult(predictor, ran.value.backbone, ran.value.nearest, [], times)


def _query(options: SearchOptions | ActionOptions) -> SearchQuery:
    perspectives = None if options.perspectives is None else tuple(options.perspectives)
    return SearchQuery(perspectives, options.backbone, options.top_k)
