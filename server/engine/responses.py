"""Responses: results of the engine -> response bodies, with labels, seconds and source frames."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from model.predict import outputs
from server.engine.request import BackpackResult, ClipResult, Progress, StageTimes
from server.schemas import prediction as schemas
from server.schemas.metadata import identity
from server.schemas.options import PredictOptions

Body = TypeVar("Body", bound=BaseModel)


def prediction(
    result: ClipResult, options: PredictOptions, *, answer_id: str, total_s: float
) -> schemas.Prediction:
    """Returns the body of a prediction.

    Args:
        result: of the engine.
        options: decides which optional parts are included.
        answer_id: id of this answer.
        total_s: since the request's first byte.
    """
    clip, track, found = result.clip, result.track, result.prediction
    contract = result.predictor.encoder.contract
    return schemas.Prediction(
        id=answer_id,
        model=identity(result.predictor),
        input=None if clip is None else _body(schemas.InputFacts, clip.info),
        features=schemas.FeatureFacts(
            encoder=track.encoder.name,
            fps=track.fps,
            window=contract.window_frames,
            stride=contract.stride_frames,
            count=len(track.features),
        ),
        segments=[segment(one, result, options) for one in found.segments],
        lta=None if found.lta is None else lta(found.lta, options),
        skills={name: forecast(answer, options) for name, answer in found.skills.items()} or None,
        timings=timings(result.times, total_s),
        warnings=[_body(schemas.Warning_, n) for n in (() if clip is None else clip.notices)],
    )


def segments(found: ClipResult, options: PredictOptions) -> list[str]:
    """Returns a result's segments, each as the JSON that it is in the body of the prediction."""
    bodies = (segment(one, found, options) for one in found.prediction.segments)
    return [body.model_dump_json(exclude_none=True) for body in bodies]


def matches(found: BackpackResult, total_s: float) -> schemas.BackpackMatches:
    """Returns the body of a backpack search.

    Args:
        found: of the engine.
        total_s: since the request's first byte.
    """
    bounds: Sequence[tuple[float | None, float | None]] = found.segments or [(None, None)]
    return schemas.BackpackMatches(
        model=identity(found.predictor),
        backbone=found.backbone,
        matches=[
            schemas.SegmentMatches(
                start_s=start_s,
                end_s=end_s,
                perspectives={
                    perspective: [_body(schemas.Neighbour, near) for near in neighbours]
                    for perspective, neighbours in nearest.items()
                },
            )
            for (start_s, end_s), nearest in zip(bounds, found.nearest, strict=True)
        ],
        timings=timings(found.times, total_s),
    )


def progress(event: Progress) -> schemas.ProgressEvent:
    """Returns the data of a `progress` event."""
    return _body(schemas.ProgressEvent, event)


def timings(times: StageTimes, total_s: float) -> schemas.Timings:
    """Returns stage times in milliseconds."""
    return schemas.Timings(
        queue_ms=_ms(times.queue_s),
        decode_ms=_ms(times.decode_s),
        features_ms=_ms(times.features_s),
        reason_ms=_ms(times.reason_s),
        total_ms=_ms(total_s),
    )


def server_timing(times: schemas.Timings) -> str:
    """Returns the same as a `Server-Timing` header."""
    stages = times.model_dump().items()
    return ", ".join(f"{name.removesuffix('_ms')};dur={ms}" for name, ms in stages)


def segment(
    found: outputs.SegmentAnswer, result: ClipResult, options: PredictOptions
) -> schemas.Segment:
    """Returns one segment of a result."""
    return schemas.Segment(
        start_s=found.start_s,
        end_s=found.end_s,
        ar=None if found.ar is None else _body(schemas.Action, found.ar),
        oscc=None if found.oscc is None else _body(schemas.Oscc, found.oscc),
        pnr=None if found.pnr is None else _instant(found.pnr, result, options),
        skills={
            name: schemas.SkillAnswer(
                labels=None if own.labels is None else _ranked(own.labels),
                instant=None if own.instant is None else _instant(own.instant, result, options),
                is_certain=own.is_certain,
            )
            for name, own in found.skills.items()
        }
        or None,
        evidence=_evidence(found.evidence, options),
    )


def _instant(
    found: outputs.InstantAnswer, result: ClipResult, options: PredictOptions
) -> schemas.Pnr:
    return schemas.Pnr(
        time_s=found.time_s,
        frame=source_frame(result, found.time_s),
        probability=found.probability,
        scores=found.scores if options.wants("scores") else None,
    )


def source_frame(result: ClipResult, time_s: float) -> int:
    """Returns the index, in the uploaded file, of the frame shown at an instant.

    Args:
        result: has the source frame at each tick; of features, the tick itself is the index.
        time_s: on the clock of the file.
    """
    track, clip = result.track, result.clip
    tick = min(round((time_s - track.origin_s) * track.ticks_per_s), track.num_frames - 1)
    tick = max(tick, 0)
    return tick if clip is None else int(clip.source_frames[tick])


def lta(found: outputs.LtaAnswer, options: PredictOptions) -> schemas.Lta:
    """Returns the anticipated actions."""
    return schemas.Lta(
        observed=found.observed,
        steps=[_body(schemas.Action, step) for step in found.steps],
        hypotheses=[
            [schemas.JointAction(verb=verb, noun=noun) for verb, noun in future]
            for future in found.hypotheses
        ],
        evidence=_evidence(found.evidence, options),
    )


def forecast(found: outputs.ForecastAnswer, options: PredictOptions) -> schemas.Forecast:
    """Returns the forecast of a skill besides the four tasks."""
    return schemas.Forecast(
        observed=found.observed,
        steps=[_ranked(step) for step in found.steps],
        evidence=_evidence(found.evidence, options),
    )


def _evidence(found: outputs.Evidence, options: PredictOptions) -> schemas.Evidence | None:
    if not options.wants("evidence"):
        return None
    shown = _body(schemas.Evidence, found)
    return shown if found.examples else shown.model_copy(update={"examples": None})


def _ranked(labels: Sequence[outputs.Ranked]) -> list[schemas.RankedLabel]:
    return [_body(schemas.RankedLabel, label) for label in labels]


def _body(body: type[Body], found: object) -> Body:
    """Returns a body made from the attributes of the same names."""
    return body.model_validate(found, from_attributes=True)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
