"""What the engine found -> the answer's JSON shape: labels, seconds and source frames."""

from collections.abc import Mapping
from typing import Any

from extract.clip import DecodedClip
from model import outputs
from model.predictor import Predictor
from server import schemas
from server.options import PredictOptions
from server.outcome import Outcome
from server.settings import Settings


def identity(predictor: Predictor) -> schemas.ModelIdentity:
    """Which bundle answers."""
    return schemas.ModelIdentity(
        name=predictor.name, version=predictor.version, sha256=predictor.sha256
    )


def prediction(
    outcome: Outcome,
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
    info, track, contract = outcome.clip.info, outcome.track, predictor.encoder.contract
    found = outcome.prediction
    return schemas.Prediction(
        id=answer_id,
        model=identity(predictor),
        input=schemas.InputFacts.model_validate(info, from_attributes=True),
        features=schemas.FeatureFacts(
            encoder=track.encoder.name,
            fps=track.fps,
            window=contract.window_frames,
            stride=contract.stride_frames,
            count=len(track.features),
        ),
        segments=[_segment(part, outcome.clip, track.fps, options) for part in found.segments],
        lta=None if found.lta is None else _lta(found.lta, options),
        skills={name: _forecast(answer, options) for name, answer in found.skills.items()} or None,
        timings=timings(outcome, total_s),
        warnings=[
            schemas.Warning_(code=notice.code, detail=notice.detail)
            for notice in outcome.clip.notices
        ],
    )


def timings(outcome: Outcome, total_s: float) -> schemas.Timings:
    """Stage times in milliseconds."""
    times = outcome.times
    return schemas.Timings(
        queue_ms=_ms(times.queue_s),
        decode_ms=_ms(times.decode_s),
        features_ms=_ms(times.features_s),
        reason_ms=_ms(times.reason_s),
        total_ms=_ms(total_s),
    )


def model_facts(predictor: Predictor) -> schemas.ModelFacts:
    """Returns what the bundle says of itself."""
    manifest, encoder = predictor.manifest, predictor.encoder
    licence = manifest.training.get("licence")
    return schemas.ModelFacts(
        **identity(predictor).model_dump(),
        tasks=list(predictor.tasks),
        encoder=schemas.Encoder(
            name=encoder.name, fingerprint=encoder.fingerprint, dim=encoder.dim
        ),
        skills={
            task: schemas.Skill(
                backbone=facts["backbone"],
                perspectives=list(facts["perspectives"]),
                outputs=list(facts["spec"]["outputs"]),
            )
            for task, facts in manifest.skills.items()
        },
        label_counts={space: len(names) for space, names in manifest.label_spaces.items()},
        metrics=_metrics(manifest.metrics),
        licence=None if licence is None else str(licence),
        backbone_passes=predictor.backbone_passes,
    )


def limits(settings: Settings) -> schemas.Limits:
    """Returns every limit in force."""
    return schemas.Limits.model_validate(settings, from_attributes=True)


def _segment(
    found: outputs.SegmentAnswer, clip: DecodedClip, fps: float, options: PredictOptions
) -> schemas.Segment:
    return schemas.Segment(
        start_s=found.start_s,
        end_s=found.end_s,
        ar=None if found.ar is None else _action(found.ar),
        oscc=None
        if found.oscc is None
        else schemas.Oscc(state_change=found.oscc.state_change, probability=found.oscc.probability),
        pnr=None if found.pnr is None else _instant(found.pnr, clip, fps, options),
        skills={
            name: schemas.SkillAnswer(
                labels=None if own.labels is None else [_ranked(label) for label in own.labels],
                instant=None if own.instant is None else _instant(own.instant, clip, fps, options),
            )
            for name, own in found.skills.items()
        }
        or None,
        evidence=_evidence(found.evidence, options),
    )


def _instant(
    found: outputs.InstantAnswer, clip: DecodedClip, fps: float, options: PredictOptions
) -> schemas.Pnr:
    return schemas.Pnr(
        time_s=found.time_s,
        frame=source_frame(clip, found.time_s, fps),
        probability=found.probability,
        scores=found.scores if options.wants("scores") else None,
    )


def source_frame(clip: DecodedClip, time_s: float, fps: float) -> int:
    """Returns the index, in the file sent, of the frame shown at an instant.

    Args:
        clip: knows which source frame stands at each tick.
        time_s: on the contract's clock.
        fps: ticks a second.
    """
    tick = min(max(round(time_s * fps), 0), len(clip.source_frames) - 1)
    return int(clip.source_frames[tick])


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
        neighbours={
            task: {
                perspective: [
                    schemas.Neighbour.model_validate(near, from_attributes=True) for near in nearest
                ]
                for perspective, nearest in perspectives.items()
            }
            for task, perspectives in found.neighbours.items()
        },
        votes=found.votes,
    )


def _metrics(found: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers only: a bundle may carry notes beside its metrics."""
    return {
        split: {
            task: {
                name: float(value)
                for name, value in values.items()
                if isinstance(value, int | float)
            }
            for task, values in tasks.items()
            if isinstance(values, Mapping)
        }
        for split, tasks in found.items()
        if isinstance(tasks, Mapping)
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
