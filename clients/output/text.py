"""Text report of a prediction, beside the ground truth where it is known."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.results.predictions import (
    Evidence,
    JointAction,
    Lta,
    PredictionResult,
    Ranked,
    Segment,
)

WIDTH = 34
EXAMPLES_SHOWN = 2


@dataclass(frozen=True)
class Truth:
    """Ground truth of a clip.

    Attributes:
        segment: (start_s, end_s) of the action.
        segments: to request, oldest first; `segment` is one of them.
        pnr_s: time of the point of no return; None without a state change.
        future: the actions that follow.
    """

    segment: tuple[float, float]
    segments: tuple[tuple[float, float], ...]
    verb: str
    noun: str
    state_change: bool
    pnr_s: float | None
    future: tuple[JointAction, ...]

    @classmethod
    def from_file(cls, path: Path) -> "Truth":
        """Reads a truth file; raises OSError or ValueError."""
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            segment = _pair(values["segment"])
            pnr_s = values["pnr"]["time_s"]
            return cls(
                segment=segment,
                segments=tuple(_pair(pair) for pair in values.get("segments", [segment])),
                verb=values["ar"]["verb"],
                noun=values["ar"]["noun"],
                state_change=bool(values["oscc"]["state_change"]),
                pnr_s=None if pnr_s is None else float(pnr_s),
                future=tuple(JointAction(step["verb"], step["noun"]) for step in values["lta"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} is not a truth file: {error!r}") from error


def describe(result: PredictionResult, truth: Truth | None = None) -> str:
    """Returns the answers as text, each beside the truth if it is given."""
    return "\n".join(_lines(result, truth))


def _lines(result: PredictionResult, truth: Truth | None) -> Iterator[str]:
    yield (
        f"{_input_line(result)}; answered by {result.model.name} {result.model.version} "
        f"({result.model.sha256[:12]}) in {result.timings.total_ms:.0f} ms"
    )
    for warning in result.warnings:
        yield f"note: {warning.detail}"
    for segment in result.segments:
        yield ""
        title = f"{segment.start_s:.1f} to {segment.end_s:.1f} s"
        is_known = truth is not None and _is_same(segment, truth.segment)
        yield _row(title, "predicted", "truth" if is_known else "no truth noted" if truth else "")
        yield from _segment_lines(segment, truth if is_known else None)
    if result.lta is not None:
        yield from _lta_lines(result.lta, None if truth is None else truth.future)
    for name, forecast in (result.skills or {}).items():
        yield ""
        yield _row(f"{name}: what comes next", "most probable", "")
        for index, step in enumerate(forecast.steps, 1):
            yield _row(f"      {index:2d}", _best_label(step), "")


def _input_line(result: PredictionResult) -> str:
    clip, features = result.input, result.features
    if clip is None:
        return f"{result.duration_s:.1f} s, {features.count} features of {features.encoder}"
    return (
        f"{clip.duration_s:.1f} s, {clip.width}x{clip.height} {clip.codec}, "
        f"{round(clip.duration_s * clip.fps)} frames"
    )


def _segment_lines(segment: Segment, truth: Truth | None) -> Iterator[str]:
    if segment.ar is not None:
        verb, noun = segment.ar.verb[0], segment.ar.noun[0]
        answer = f"{verb.label} {noun.label} ({verb.probability:.0%}, {noun.probability:.0%})"
        right = truth is not None and (verb.label, noun.label) == (truth.verb, truth.noun)
        real = truth and f"{truth.verb} {truth.noun}{_mark(right)}"
        yield _row("AR    what is done", answer, real or "")
    if segment.oscc is not None:
        answer = f"{_yes(segment.oscc.state_change)} ({segment.oscc.probability:.0%})"
        right = truth is not None and segment.oscc.state_change == truth.state_change
        real = truth and f"{_yes(truth.state_change)}{_mark(right)}"
        yield _row("OSCC  does a state change", answer, real or "")
    if segment.pnr is not None:
        answer = f"{segment.pnr.time_s:.2f} s, frame {segment.pnr.frame}"
        yield _row("PNR   when", answer, _pnr_truth(segment.pnr.time_s, truth))
    for name, own in (segment.skills or {}).items():
        if own.labels:
            doubt = ", not certain" if own.is_certain is False else ""
            yield _row(name, _best_label(own.labels) + doubt, "")
        if own.instant is not None:
            yield _row(
                f"{name}: when", f"{own.instant.time_s:.2f} s, frame {own.instant.frame}", ""
            )
    if segment.evidence is not None:
        yield from _evidence_lines(segment.evidence)


def _evidence_lines(evidence: Evidence) -> Iterator[str]:
    """For each task, the closest prototype per perspective, own examples, and the votes."""
    for task, perspectives in evidence.neighbours.items():
        nearest = ", ".join(
            f"{name}: {near[0].name} {near[0].similarity:.2f}"
            for name, near in perspectives.items()
            if near
        )
        yield f"  nearest in the backpack for {task}:  {nearest}"
    for task, examples in (evidence.examples or {}).items():
        yield f"  like your examples for {task}:  " + ", ".join(
            f"{e.label} ({e.video}, {e.start_s:.1f} to {e.end_s:.1f} s, {e.similarity:.2f})"
            for e in examples[:EXAMPLES_SHOWN]
        )
    for output, votes in evidence.votes.items():
        yield f"  votes for {output}:  " + ", ".join(
            f"{who}: {what}" for who, what in votes.items()
        )


def _lta_lines(lta: Lta, truth: Sequence[JointAction] | None) -> Iterator[str]:
    yield ""
    # The best labels of a step, taken apart, need not be an action: a sampled future is shown.
    heading = f"first of {len(lta.hypotheses)} futures"
    yield _row("LTA   what comes next", heading, "truth" if truth else "")
    for index, step in enumerate(lta.hypotheses[0]):
        answer = f"{step.verb} {step.noun}"
        real = ""
        if truth and index < len(truth):
            real = f"{truth[index].verb} {truth[index].noun}"
            real += _mark(real == answer)
        yield _row(f"      {index + 1:2d}", answer, real)
    if truth:
        distances = edit_distances(lta, truth)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in distances.items())
        count = len(lta.hypotheses)
        yield f"      edit distance of the best of {count} sampled futures (0 to 1): {shown}"


def edit_distances(lta: Lta, truth: Sequence[JointAction]) -> dict[str, float]:
    """Returns the distance of the closest sampled future, by verb, noun and action.

    Each is Levenshtein's divided by the length of the truth, as in Ego4D's metric.
    """
    return {
        "verb": _best([[a.verb for a in f] for f in lta.hypotheses], [a.verb for a in truth]),
        "noun": _best([[a.noun for a in f] for f in lta.hypotheses], [a.noun for a in truth]),
        "action": _best(lta.hypotheses, list(truth)),
    }


def levenshtein(one: Sequence[object], other: Sequence[object]) -> int:
    """Returns the edit distance of two sequences."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
            diagonal, row[j] = row[j], cost
    return row[-1]


def _best(futures: Sequence[Sequence[object]], truth: Sequence[object]) -> float:
    return min(levenshtein(future, truth) for future in futures) / len(truth)


def _pnr_truth(time_s: float, truth: Truth | None) -> str:
    if truth is None:
        return ""
    if truth.pnr_s is None:
        return "never"
    return f"{truth.pnr_s:.2f} s  ({abs(time_s - truth.pnr_s):.2f} s off)"


def _is_same(segment: Segment, pair: tuple[float, float]) -> bool:
    return abs(segment.start_s - pair[0]) < 0.01 and abs(segment.end_s - pair[1]) < 0.1


def _best_label(ranked: Sequence[Ranked]) -> str:
    return f"{ranked[0].label} ({ranked[0].probability:.0%})"


def _row(name: str, answer: str, truth: str) -> str:
    return f"{name:<28}{answer:<{WIDTH}}{truth}".rstrip()


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _mark(is_right: bool) -> str:
    return "  *" if is_right else ""


def _pair(values: Sequence[float]) -> tuple[float, float]:
    start, end = values
    return float(start), float(end)
