"""Reader of CaptainCook4D: timed steps of recipes, done as described or with errors."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from model.data.json_rows import read_json
from model.data.tables.csv_rows import read_csv, read_names, seconds
from model.data.tables.label_file import SPLITS, Split
from model.data.tables.published import find_file, need_file, usable_split
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

FOLDERS = ("annotation_csv", "data_splits", "metadata")
COLUMNS = ("recording_id", "step_id", "start_time", "end_time", "has_errors")
DURATION = "duration(sec)"
NOT_DONE = "-1"
"""Start and end of a step that was left out."""


def read_captaincook4d(root: Path) -> SegmentTable:
    """Reads the steps; `step` is the description of the step's id, `has_errors` True or False.

    Steps that were left out have no time, so they are no rows. Splits are those by recording.

    Args:
        root: folder with the files, as published, in it or below.

    Raises:
        AnnotationInvalid: a file is missing or malformed, or a step ends after its recording;
            names line and column.
    """
    names = read_names(
        need_file(root, "step_idx_description.csv", FOLDERS), "step_idx", "step_description"
    )
    rows = list(_rows(need_file(root, "step_annotations.csv", FOLDERS), names))
    done = [row for row in rows if row is not None]
    splits = find_file(root, "recordings_data_split_combined.json", FOLDERS)
    split, notes = usable_split(() if splits is None else _splits(splits))
    table = SegmentTable.from_segments(
        str(root),
        ("step", "has_errors"),
        done,
        split=split,
        file_names=("{}", "{}_360p"),
        notes=(*notes, f"{len(rows) - len(done)} steps that were not done have no segment"),
    )
    lengths = find_file(root, "video_information.csv", FOLDERS)
    if lengths is not None:
        table.check_ends(_durations(lengths))
    return table


def _rows(path: Path, names: Mapping[str, str]) -> Iterator[Segment | None]:
    for line, row in read_csv(path, COLUMNS):
        where = f"{path}, line {line}"
        if row["step_id"] not in names:
            raise AnnotationInvalid(
                f"{where}, step_id: expected an id of step_idx_description.csv, got "
                f"{row['step_id']!r:.80}"
            )
        if row["has_errors"] not in ("True", "False"):
            raise AnnotationInvalid(
                f"{where}, has_errors: expected True or False, got {row['has_errors']!r:.80}"
            )
        labels = names[row["step_id"]], row["has_errors"]
        times = [row["start_time"], row["end_time"]]
        if {time.removesuffix(".0") for time in times} == {NOT_DONE}:
            yield None
            continue
        start_s, end_s = (seconds(where, c, row[c]) for c in ("start_time", "end_time"))
        yield Segment(row["recording_id"], start_s, end_s, labels, str(path), line)


def _splits(path: Path) -> Iterator[tuple[str, Split]]:
    content = read_json(path, remedy="")
    for part in SPLITS:
        names = content.get(part, []) if isinstance(content, dict) else None
        if not isinstance(names, list):
            raise AnnotationInvalid(f"{path}: expected a list of recordings under {part!r}")
        yield from ((str(name), part) for name in names)


def _durations(path: Path) -> dict[str, float]:
    return {
        row["recording_id"]: seconds(f"{path}, line {line}", DURATION, row[DURATION])
        for line, row in read_csv(path, ("recording_id", DURATION))
    }
