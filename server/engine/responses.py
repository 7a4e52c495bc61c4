"""What the engine found -> the answer's JSON shape: labels, seconds and source frames."""

from collections.abc import Mapping, Sequence

from model.predict import outputs
from model.predict.predictor import Predictor
from server.engine.request import ClipResult, Progress, SearchResult, StageTimes
from server.schemas import prediction as schemas
from server.schemas.metadata import identity
from server.schemas.options import PredictOptions


def prediction(
    outcome: ClipResult,
    options: PredictOptions,
    predictor: Predictor,
    *,
    answer_id: str,
    total_s: float,
) -> schemas.Prediction:
    """Returns the answer to one request.

    Args:
        outcome: what the engine found.
        options: decides which optional parts go in.
        predictor: who found it.
        answer_id: id of this answer.
        total_s: since the request's first byte.
    """
    clip, track, found = outcome.clip, outcome.track, outcome.prediction
    contract = predictor.encoder.contract
    return schemas.Prediction(
        id=answer_id,
        model=identity(predictor),
        input=None
        if clip is None
        else schemas.InputFacts.model_validate(clip.info, from_attributes=True),
        features=schemas.FeatureFacts(
            encoder=track.encoder.name,
            fps=track.fps,
            window=contract.window_frames,
            stride=contract.stride_frames,
            count=len(track.features),
        ),
        segments=[_segment(part, outcome, options) for part in found.segments],
        lta=None if found.lta is None else _lta(found.lta, options),
        skills={name: _forecast(answer, options) for name, answer in found.skills.items()} or None,
        timings=timings(outcome.times, total_s),
        warnings=[
            schemas.Warning_(code=notice.code, detail=notice.detail)
            for notice in (() if clip is None else clip.notices)
        ],
    )


def matches(found: SearchResult, predictor: Predictor, total_s: float) -> schemas.BackpackMatches:
    """Returns the answer to one search.

    Args:
        found: what the engine found.
        predictor: who found it.
        total_s: since the request's first byte.
    """
    bounds: list[tuple[float | None, float | None]] = [*found.segments] or [(None, None)]
    return schemas.BackpackMatches(
        model=identity(predictor),
        backbone=found.backbone,
        matches=[
            schemas.SegmentMatches(
                start_s=start_s, end_s=end_s, perspectives=_neighbours(perspectives)
            )
            for (start_s, end_s), perspectives in zip(bounds, found.nearest, strict=True)
        ],
        timings=timings(found.times, total_s),
    )


def progress(told: Progress) -> schemas.ProgressEvent:
    """Returns the data of a `progress` event."""
    return schemas.ProgressEvent(stage=told.stage, windows_done=told.done, windows_total=told.total)


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


def _segment(
    found: outputs.SegmentAnswer, outcome: ClipResult, options: PredictOptions
) -> schemas.Segment:
    return schemas.Segment(
        start_s=found.start_s,
        end_s=found.end_s,
        ar=None if found.ar is None else _action(found.ar),
        oscc=None
        if found.oscc is None
        else schemas.Oscc(state_change=found.oscc.state_change, probability=found.oscc.probability),
        pnr=None if found.pnr is None else _instant(found.pnr, outcome, options),
        skills={
            name: schemas.SkillAnswer(
                labels=None if own.labels is None else [_ranked(label) for label in own.labels],
                instant=None if own.instant is None else _instant(own.instant, outcome, options),
            )
            for name, own in found.skills.items()
        }
        or None,
        evidence=_evidence(found.evidence, options),
    )


def _instant(
    found: outputs.InstantAnswer, outcome: ClipResult, options: PredictOptions
) -> schemas.Pnr:
    return schemas.Pnr(
        time_s=found.time_s,
        frame=source_frame(outcome, found.time_s),
        probability=found.probability,
        scores=found.scores if options.wants("scores") else None,
    )


def source_frame(outcome: ClipResult, time_s: float) -> int:
    """Returns the index, in the file sent, of the frame shown at an instant.

    Args:
        outcome: knows which source frame stands at each tick; of features, the tick itself counts.
        time_s: on the clock of the file.
    """
    track, clip = outcome.track, outcome.clip
    tick = min(round((time_s - track.origin_s) * track.ticks_per_s), track.num_frames - 1)
    tick = max(tick, 0)
    return tick if clip is None else int(clip.source_frames[tick])


def _action(found: outputs.ArAnswer | outputs.LtaStep) -> schemas.Action:
    return schemas.Action(
        verb=[_ranked(label) for label in found.verb],
        noun=[_ranked(label) for label in found.noun],
    )


def _ranked(found: outputs.Ranked) -> schemas.RankedLabel:
    return schemas.RankedLabel(id=found.id, label=found.label, probability=found.probability)


def _lta(found: outputs.LtaAnswer, options: PredictOptions) -> schemas.Lta:
    return schemas.Lta(
        observed=found.observed,
        steps=[_action(step) for step in found.steps],
        hypotheses=[
            [schemas.JointAction(verb=verb, noun=noun) for verb, noun in future]
            for future in found.hypotheses
        ],
        evidence=_evidence(found.evidence, options),
    )


def _forecast(found: outputs.ForecastAnswer, options: PredictOptions) -> schemas.Forecast:
    return schemas.Forecast(
        observed=found.observed,
        steps=[[_ranked(label) for label in step] for step in found.steps],
        evidence=_evidence(found.evidence, options),
    )


def _evidence(found: outputs.Evidence, options: PredictOptions) -> schemas.Evidence | None:
    if not options.wants("evidence"):
        return None
    return schemas.Evidence(
        neighbours={task: _neighbours(by) for task, by in found.neighbours.items()},
        votes=found.votes,
    )


def _neighbours(
    found: Mapping[str, Sequence[outputs.Neighbour]],
) -> dict[str, list[schemas.Neighbour]]:
    return {
        perspective: [
            schemas.Neighbour.model_validate(near, from_attributes=True) for near in nearest
        ]
        for perspective, nearest in found.items()
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
