"""Reader of Ego4D Goal-Step: steps and substeps of procedures, with the goal they serve."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.data.json_rows import Row, read_rows
from model.data.tables.label_file import Split
from model.data.tables.published import find_file, usable_split
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

FILES: dict[str, Split] = {"goalstep_train.json": "train", "goalstep_valid.json": "val"}
OUTPUTS = ("goal", "step", "substep")


def read_goalstep(root: Path) -> SegmentTable:
    """Reads the timed steps and substeps, a row each.

    A row of a step has a label of `step`, a row of a substep one of `substep`, both that of their
    goal; labels are the categories.

    Args:
        root: folder with the JSON files, as published, in it or below.

    Raises:
        AnnotationInvalid: no file is there, or one is malformed; names the entry and the field.
    """
    found = {part: path for file, part in FILES.items() if (path := find_file(root, file))}
    if not found:
        raise AnnotationInvalid(f"{root}: expected {' or '.join(FILES)} in it or below")
    rows = {part: list(_rows(path)) for part, path in found.items()}
    pairs = ((row.video, part) for part, segments in rows.items() for row in segments)
    split, notes = usable_split(pairs)
    segments = (row for part in rows.values() for row in part)
    return SegmentTable.from_segments(str(root), OUTPUTS, segments, split=split, notes=notes)


def _rows(path: Path) -> Iterator[Segment]:
    for video in read_rows(path, remedy="", under="videos"):
        goal, place = video.text("goal_category"), f"videos[{video.position}]"
        for step in _segments(video, path, place):
            here = f"{place}.segments[{step.position}]"
            yield _segment(video, step, (goal, _category(step), None), path, here)
            for substep in _segments(step, path, here):
                inner = f"{here}.segments[{substep.position}]"
                yield _segment(video, substep, (goal, None, _category(substep)), path, inner)


def _category(row: Row) -> str | None:
    return row.text("step_category") if row.values.get("step_category") else None


def _segments(parent: Row, path: Path, place: str) -> list[Row]:
    entries: Any = parent.values.get("segments", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AnnotationInvalid(f"{path}, {place}: expected a list of objects under 'segments'")
    return [Row(entry, f"{path}, {place}.segments", i) for i, entry in enumerate(entries)]


def _segment(
    video: Row, row: Row, labels: tuple[str | None, ...], path: Path, place: str
) -> Segment:
    start_s, end_s = row.number("start_time"), row.number("end_time")
    return Segment(video.text("video_uid"), start_s, end_s, labels, str(path), place)
