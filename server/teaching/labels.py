"""What is to be taught, checked before it becomes a job: task, labels and the clips they name."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from model.data.tables.label_file import LabelRow
from model.data.tables.label_rows import (
    check_labels,
    check_spans,
    rows_from_csv,
    rows_from_json,
    rows_to_json,
)
from model.data.task_file import TaskFile, parse_task
from model.errors import LabelsInvalid as WrongLabels
from model.errors import TaskInvalid
from server.errors import LabelsInvalid
from server.schemas.teaching_options import (
    MAX_LABEL_CHARS,
    MAX_LABEL_NAMES,
    LabelledOptions,
    SuggestOptions,
    TeachOptions,
)
from server.teaching.clips import Clip

RESERVED = "suggest"
"""An endpoint in the place of a skill's name."""

CSV = "/labels_csv"
"""Before the line, in what is said of a wrong one."""

Labels = LabelledOptions | SuggestOptions
"""Choices that come with labels."""


class TeachInput(BaseModel):
    """What a job teaches, as it is stored from its acceptance to its end.

    Attributes:
        task: keys of the task file.
        labels: rows as JSON.
        clips: name of a clip -> id of the caller's clip with that name when the job was accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: dict[str, Any]
    labels: list[dict[str, Any]]
    clips: dict[str, str]
    none_label: str | None
    method: Literal["auto", "head"]
    seed: int
    activate: bool
    threshold: float | None


@dataclass(frozen=True)
class Labelled:
    """Labels that were checked, and the clips that they are of.

    Attributes:
        labels: rows as JSON.
        names: the label space.
        clips: name -> clip, of those that rows are of.
    """

    labels: list[dict[str, Any]]
    names: list[str]
    clips: dict[str, Clip]

    @property
    def clip_ids(self) -> dict[str, str]:
        """Name of each clip -> its id."""
        return {name: clip.id for name, clip in self.clips.items()}


def read_task(options: TeachOptions | SuggestOptions) -> TaskFile:
    """Returns the task that is to be taught.

    Raises:
        LabelsInvalid: one of its keys is wrong.
    """
    if options.task.name == RESERVED:
        raise LabelsInvalid(("/task/name", f"{RESERVED!r} means something else here"))
    try:
        return parse_task(options.task.values())
    except TaskInvalid as error:
        raise task_invalid(error) from error


def task_invalid(error: TaskInvalid) -> LabelsInvalid:
    """Returns what a caller hears of a wrong task."""
    key, _, text = str(error).partition(": ")
    return LabelsInvalid((f"/task/{key}", text))


def read_labelled(
    options: Labels,
    clips: Sequence[Clip],
    *,
    encoder: str,
    most: int,
    labels: Sequence[str] | None = None,
) -> Labelled:
    """Returns the labels of a request, checked against the clips that they name.

    Args:
        options: has the labels, as JSON or CSV.
        clips: that the caller keeps.
        encoder: fingerprint of the encoder whose features are learnt from.
        most: labels in a request.
        labels: the label space; None takes all labels of the rows.

    Raises:
        LabelsInvalid: labels are too many, malformed, or of no clip; names every wrong one, up to
            a bound.
    """
    is_csv = options.labels_csv is not None
    try:
        rows = _rows(options, labels, most)
        _check_names(rows, is_csv=is_csv)
        spans = {clip.name: (clip.origin_s, clip.end_s) for clip in clips}
        if isinstance(options, SuggestOptions):  # they may be few, and of one name
            check_spans(rows, spans, from_csv=is_csv)
            names = sorted({row.label for row in rows})
        else:
            names = check_labels(rows, spans, labels=labels, from_csv=is_csv)
    except WrongLabels as error:
        found = ((CSV, f"{at}: {why}") if is_csv else (at, why) for at, why in error.errors)
        raise LabelsInvalid(*found) from error
    used = _used(options, rows, clips)
    named = {clip.name: clip for clip in clips if clip.name in used}
    _check_encoder(named, encoder)
    return Labelled(rows_to_json(rows), names, named)


def teach_input(options: TeachOptions, labelled: Labelled) -> TeachInput:
    """Returns a job's input.

    Raises:
        LabelsInvalid: `none_label` is none of the labels, or there is a threshold for nothing.
    """
    if options.none_label is not None and options.none_label not in labelled.names:
        known = ", ".join(labelled.names)
        raise LabelsInvalid(("/none_label", f"expected one of the labels {known}"))
    if options.threshold is not None and not options.activate:
        raise LabelsInvalid(("/threshold", "goes with `activate` only"))
    return TeachInput(
        task=options.task.values(),
        labels=labelled.labels,
        clips=labelled.clip_ids,
        none_label=options.none_label,
        method=options.method,
        seed=options.seed,
        activate=options.activate,
        threshold=options.threshold,
    )


def _rows(options: Labels, labels: Sequence[str] | None, most: int) -> list[LabelRow]:
    if options.labels_csv is None:
        given = options.labels or []
        if len(given) > most:
            raise LabelsInvalid(("/labels", f"{len(given)} labels, of at most {most}"))
        if not given and isinstance(options, SuggestOptions):
            return []
        return rows_from_json(given, labels=labels)
    if options.labels_csv.count("\n") > most + 1:  # before a row is parsed
        count = sum(1 for _ in csv.reader(options.labels_csv.splitlines())) - 1
        raise LabelsInvalid((CSV, f"{count} labels, of at most {most}"))
    rows = rows_from_csv(options.labels_csv, labels=labels)
    if len(rows) > most:
        raise LabelsInvalid((CSV, f"{len(rows)} labels, of at most {most}"))
    return rows


def _used(options: Labels, rows: Sequence[LabelRow], clips: Sequence[Clip]) -> set[str]:
    """Names of the clips that are read: of the labels, and of what is to be suggested."""
    used = {row.video for row in rows}
    if not isinstance(options, SuggestOptions):
        return used
    known = {clip.name for clip in clips}
    if options.clips is None:
        return known
    for index, name in enumerate(options.clips):
        if name not in known:
            raise LabelsInvalid((f"/clips/{index}", "you keep no clip of this name"))
    return used | set(options.clips)


def _check_names(rows: Sequence[LabelRow], *, is_csv: bool) -> None:
    """Label names are any text on one line, and not without end."""
    for row in rows:
        if len(row.label) > MAX_LABEL_CHARS or not _is_line(row.label):
            expected = f"expected at most {MAX_LABEL_CHARS} characters, no control characters"
            where = f"line {row.line}" if is_csv else f"/labels/{row.line}/label"
            raise WrongLabels([(where, expected)])
    if (count := len({row.label for row in rows})) > MAX_LABEL_NAMES:
        where = "line 1" if is_csv else "/labels"
        raise WrongLabels([(where, f"{count} different labels, of at most {MAX_LABEL_NAMES}")])


def _is_line(text: str) -> bool:
    return all(ord(char) >= 32 and ord(char) != 127 for char in text)


def _check_encoder(clips: Mapping[str, Clip], encoder: str) -> None:
    old = sorted(name for name, clip in clips.items() if clip.encoder != encoder)
    if old:
        raise LabelsInvalid(
            ("/labels", f"kept with another encoder, so delete and send again: {', '.join(old)}")
        )
