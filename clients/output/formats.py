"""Export formats: CSV, WebVTT, Label Studio, FiftyOne.

Frame numbers and seconds are those of the file that was sent. Labels and names are untrusted: in a
table none becomes a formula, in subtitles none becomes a cue.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from clients.results.predictions import PredictionResult, Segment

_FORMULA = tuple("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

CONTROL = "actions"
"""Name of the TimelineLabels control that the predictions are for."""


@dataclass(frozen=True)
class Span:
    """A labelled interval of the clip, an instant where start and end are equal.

    Attributes:
        task: task or skill.
        label: its answer.
        confidence: probability of the answer.
    """

    task: str
    label: str
    start_s: float
    end_s: float
    confidence: float


def spans_of(result: PredictionResult) -> list[Span]:
    """Returns the best answer of every task to every segment, in order."""
    return [span for segment in result.segments for span in _spans(segment)]


def _spans(segment: Segment) -> Iterator[Span]:
    start, end = segment.start_s, segment.end_s
    if segment.ar is not None:
        verb, noun = segment.ar.verb[0], segment.ar.noun[0]
        sure = verb.probability * noun.probability
        yield Span("ar", f"{verb.label} {noun.label}", start, end, sure)
    changes = segment.oscc is None or segment.oscc.state_change
    if segment.oscc is not None:
        sure = segment.oscc.probability
        label = "state change" if changes else "no state change"
        yield Span("oscc", label, start, end, sure if changes else 1.0 - sure)
    if segment.pnr is not None and changes:
        instant = segment.pnr.time_s
        yield Span("pnr", "point of no return", instant, instant, segment.pnr.probability)
    for name, answer in (segment.skills or {}).items():
        if answer.labels:
            best = answer.labels[0]
            yield Span(name, best.label, start, end, best.probability)
        if answer.instant is not None:
            instant = answer.instant.time_s
            yield Span(name, name, instant, instant, answer.instant.probability)


def to_csv(result: PredictionResult, name: str = "") -> str:
    """Returns one line per answer, then the sampled futures; `name` fills the first column."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["clip", "task", "start_s", "end_s", "future", "step", "label", "confidence"])
    for span in spans_of(result):
        confidence = f"{span.confidence:.6f}"
        row = [name, span.task, span.start_s, span.end_s, "", "", span.label, confidence]
        table.writerow(map(_cell, row))
    if result.lta is not None:
        for future, steps in enumerate(result.lta.hypotheses, 1):
            for step, action in enumerate(steps, 1):
                label = f"{action.verb} {action.noun}"
                row = [name, "lta", "", "", future, step, label, ""]
                table.writerow(map(_cell, row))
    return text.getvalue()


def to_vtt(result: PredictionResult, name: str = "") -> str:
    """Returns subtitles, a cue per segment; `name` becomes a note."""
    note = f"NOTE {_one_line(name)}\n\n" if name else ""
    cues = []
    for segment in result.segments:
        lines = filter(None, map(_cue_line, _spans(segment)))
        cues.append(cue(segment.start_s, segment.end_s, lines))
    return "WEBVTT\n\n" + note + "\n".join(cues)


def cue(start_s: float, end_s: float, lines: Iterable[str]) -> str:
    """Returns a cue of subtitles."""
    shown = "\n".join(map(_one_line, lines))
    return f"{_stamp(start_s)} --> {_stamp(end_s)}\n{shown}\n"


def to_label_studio(result: PredictionResult, name: str = "clip.mp4") -> list[dict[str, Any]]:
    """Returns a task with a prediction, as Label Studio imports it.

    Ranges count frames from 1, both ends included; `name` is the clip's address for Label Studio.
    """
    regions = [
        {
            "id": f"{span.task}-{index}",
            "from_name": CONTROL,
            "to_name": "video",
            "type": "timelinelabels",
            "score": span.confidence,
            "value": {
                "timelinelabels": [span.label],
                "ranges": [dict(zip(("start", "end"), _frames(span, result), strict=True))],
            },
        }
        for index, span in enumerate(spans_of(result))
    ]
    model = f"{result.model.name} {result.model.version} {result.model.sha256[:12]}"
    prediction = {"model_version": model, "result": regions, "score": score_of(regions)}
    return [{"data": {"video": name}, "predictions": [prediction]}]


def score_of(regions: list[dict[str, Any]]) -> float:
    """Returns a prediction's score, by which Label Studio sorts tasks: the mean over regions."""
    return float(sum(region["score"] for region in regions)) / max(1, len(regions))


def label_studio_config(result: PredictionResult) -> str:
    """Returns the XML of a labelling interface that fits the predictions."""
    view = ElementTree.Element("View")
    control = ElementTree.SubElement(view, "TimelineLabels", name=CONTROL, toName="video")
    for label in dict.fromkeys(span.label for span in spans_of(result)):
        ElementTree.SubElement(control, "Label", value=label)
    rate = f"{result.fps:g}"
    ElementTree.SubElement(view, "Video", name="video", value="$video", frameRate=rate)
    return ElementTree.tostring(view, encoding="unicode")


def to_fiftyone(result: PredictionResult, name: str = "") -> dict[str, Any]:
    """Returns a sample's fields, each as `fiftyone.TemporalDetections.from_dict` reads it.

    A task is a field; supports count frames from 1, both ends included; `name` is the `filepath`.
    """
    fields: dict[str, Any] = {"filepath": name}
    for span in spans_of(result):
        field = fields.setdefault(span.task, {"_cls": "TemporalDetections", "detections": []})
        field["detections"].append(
            {
                "_cls": "TemporalDetection",
                "label": span.label,
                "support": list(_frames(span, result)),
                "confidence": span.confidence,
            }
        )
    return fields


FORMATS: dict[str, Callable[[PredictionResult, str], str | list[Any] | dict[str, Any]]] = {
    "csv": to_csv,
    "vtt": to_vtt,
    "label-studio": to_label_studio,
    "fiftyone": to_fiftyone,
}
"""Name of a format -> function that returns text, or a value for a JSON file."""


def _frames(span: Span, result: PredictionResult) -> tuple[int, int]:
    """First and last frame, counted from 1; an instant is the frame closest to it."""
    last = max(1, round(result.duration_s * result.fps))
    begin, end = ((at - result.start_s) * result.fps for at in (span.start_s, span.end_s))
    if span.start_s == span.end_s:
        instant = max(1, min(last, round(begin) + 1))
        return instant, instant
    first = max(1, min(last, int(begin + 1e-6) + 1))
    return first, max(first, min(last, round(end)))


def _cue_line(span: Span) -> str:
    return span.label if span.start_s < span.end_s else f"{span.label} at {span.start_s:.2f} s"


def _one_line(text: str) -> str:
    """Text of a cue or note: no markup, no `-->`, no empty line that would end it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())


def _cell(value: object) -> object:
    """The value as a spreadsheet shows it: text that it would compute is marked as text."""
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    # A lone \r is not quoted by the csv module, and ends a line for others.
    return ("'" if is_formula else "") + value.replace("\r", " ")


def _stamp(seconds: float) -> str:
    whole = round(seconds * 1000)
    return (
        f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:"
        f"{whole // 1000 % 60:02d}.{whole % 1000:03d}"
    )
