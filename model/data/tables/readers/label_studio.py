"""Reader of Label Studio's JSON export: regions on the timeline of videos."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from extract.dataset.manifest import VIDEO_SUFFIXES
from model.data.json_rows import Row, read_rows
from model.data.tables.overlaps import check_repeated
from model.data.tables.problems import Problems
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

_UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio writes before the name of a file that is uploaded to it."""


def read_label_studio(path: Path, *, fps: float | None = None) -> SegmentTable:
    """Reads the regions; every control that labels them, such as TimelineLabels, is an output.

    A range of frames counts from 1 and includes its end. Labels and choices of one region make one
    row; of several labels of a control the first counts. Of several annotations of a task, the one
    that is marked as ground truth counts, or else the last that was changed; cancelled ones do not.

    Args:
        path: the export in the format JSON.
        fps: frames a second, for regions in frames.

    Raises:
        AnnotationInvalid: the file is no such export, or regions are invalid; names all of them.
    """
    problems = Problems(str(path))
    found: list[tuple[str, str, float, float, dict[str, str]]] = []
    for task in read_rows(path, remedy="Export the project in the format JSON.", under="tasks"):
        try:
            video, items = _video(task), _results(task)
            for region, group in _regions(items).items():
                here = f"{_name(task)}, region {region}"
                found += [
                    (here, video, *times, labels) for times, labels in _rows(group, here, fps)
                ]
        except AnnotationInvalid as error:
            problems.add(str(error))
    problems.check()
    outputs = list(dict.fromkeys(name for *_, labels in found for name in labels))
    segments = (
        Segment(video, start, end, tuple(map(labels.get, outputs)), str(path), place)
        for place, video, start, end, labels in found
    )
    table = SegmentTable.from_segments(str(path), outputs, segments)
    check_repeated(table)
    return table


def _name(task: Row) -> str:
    return f"task {task.values.get('id', task.position)}"


def _video(task: Row) -> str:
    """The name of a task's video without its ending: of `video`, or of the only file there is."""
    data = task.values.get("data")
    if not isinstance(data, dict) or "annotations" not in task.values:
        raise AnnotationInvalid(
            f"{_name(task)}: expected 'data' and 'annotations', as in an export in the format JSON "
            "(not JSON-MIN)"
        )
    texts = {name: _file(value) for name, value in data.items() if isinstance(value, str)}
    files = {n: f for n, f in texts.items() if PurePosixPath(f).suffix.lower() in VIDEO_SUFFIXES}
    chosen = files.get("video") or (next(iter(files.values())) if len(files) == 1 else None)
    if chosen is None:
        raise AnnotationInvalid(
            f"{_name(task)}, data: expected one address of a video "
            f"({' '.join(VIDEO_SUFFIXES)}), got {', '.join(data) or 'nothing'}"
        )
    return PurePosixPath(chosen).stem


def _file(address: str) -> str:
    """The name of the file at an address: a URL, a path, an upload or a local file."""
    parts = urlsplit(address)
    named = parse_qs(parts.query).get("d")
    name = PurePosixPath(named[0] if named else unquote(parts.path)).name
    is_uploaded = parts.path.startswith("/data/upload/")
    return _UPLOADED.sub("", name, count=1) if is_uploaded else name


def _results(task: Row) -> list[Mapping[str, Any]]:
    """The result of the annotation that counts."""
    there = [
        annotation
        for annotation in task.values["annotations"] or ()
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    if not there:
        return []
    best = max(there, key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at", ""))))
    result = best.get("result")
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise AnnotationInvalid(f"{_name(task)}: expected a list of objects under 'result'")
    return result


def _regions(items: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    regions: dict[str, list[Mapping[str, Any]]] = {}
    for number, item in enumerate(items):
        regions.setdefault(str(item.get("id", number)), []).append(item)
    return regions


def _rows(
    group: list[Mapping[str, Any]], where: str, fps: float | None
) -> Iterator[tuple[tuple[float, float], dict[str, str]]]:
    """The stretches of one region with all its labels; none for what has no time or no label."""
    labels: dict[str, str] = {}
    stretches: list[tuple[float, float]] = []
    for item in group:
        value = item.get("value")
        if not isinstance(value, dict):
            continue
        names = value.get(str(item.get("type")))
        if isinstance(names, list) and names and names[0] and isinstance(names[0], str):
            labels.setdefault(str(item.get("from_name")), names[0])
        stretches = stretches or _stretches(value, where, fps)
    if labels:
        for stretch in stretches:
            yield stretch, labels


def _stretches(
    value: Mapping[str, Any], where: str, fps: float | None
) -> list[tuple[float, float]]:
    """Start and end in seconds of a region's ranges."""
    is_frames = "ranges" in value
    ranges = value["ranges"] if is_frames else [value]
    if not is_frames and not {"start", "end"} <= value.keys():
        return []
    if is_frames and fps is None:
        raise AnnotationInvalid(f"{where}: counts in frames: give the videos' rate with --fps")
    if not isinstance(ranges, list) or not all(isinstance(bounds, dict) for bounds in ranges):
        raise AnnotationInvalid(f"{where}: expected a list of objects under 'ranges'")
    rows = [Row(bounds, where, position) for position, bounds in enumerate(ranges)]
    return [_bounds(row, fps if is_frames else None) for row in rows]


def _bounds(row: Row, fps: float | None) -> tuple[float, float]:
    """Start and end in seconds; with a rate, of frames from 1 of which the last is included."""
    first, last = row.number("start"), row.number("end")
    if not (0 if fps is None else 1) <= first <= last:
        unit = "seconds from 0" if fps is None else "frames from 1"
        raise row.error("start and end", f"{unit}, in order", (first, last))
    return (first, last) if fps is None else ((first - 1) / fps, last / fps)
