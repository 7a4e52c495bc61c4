"""Reader of EPIC-KITCHENS-100's annotations: verb and noun classes of narrated actions."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from model.data.tables.csv_rows import clock, read_csv, read_names
from model.data.tables.label_file import Split
from model.data.tables.published import find_file, need_file, usable_split
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

FILES: Mapping[str, Split] = {"EPIC_100_train.csv": "train", "EPIC_100_validation.csv": "val"}
CLASSES = {"verb": "EPIC_100_verb_classes.csv", "noun": "EPIC_100_noun_classes.csv"}
COLUMNS = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")


def read_epic_kitchens(root: Path) -> SegmentTable:
    """Reads the annotations of train and validation; a label is the key of its class.

    Args:
        root: folder with the four CSV files, as published, in it or below.

    Raises:
        AnnotationInvalid: a file is missing or malformed; names line and column.
    """
    names = {
        output: read_names(need_file(root, file), "id", "key") for output, file in CLASSES.items()
    }
    found = {part: path for file, part in FILES.items() if (path := find_file(root, file))}
    if not found:
        raise AnnotationInvalid(f"{root}: expected {' and '.join(FILES)} in it or below")
    rows = {part: list(_rows(path, names)) for part, path in found.items()}
    pairs = ((row.video, part) for part, segments in rows.items() for row in segments)
    split, notes = usable_split(pairs)
    segments = (row for part in rows.values() for row in part)
    return SegmentTable.from_segments(str(root), tuple(CLASSES), segments, split=split, notes=notes)


def _rows(path: Path, names: Mapping[str, Mapping[str, str]]) -> Iterator[Segment]:
    for line, row in read_csv(path, COLUMNS):
        where = f"{path}, line {line}"
        labels = []
        for output, known in names.items():
            label = known.get(row[f"{output}_class"])
            if label is None:
                raise AnnotationInvalid(
                    f"{where}, {output}_class: expected an id of {CLASSES[output]}, got "
                    f"{row[f'{output}_class']!r:.80}"
                )
            labels.append(label)
        start_s, end_s = (clock(where, column, row[column]) for column in COLUMNS[1:3])
        yield Segment(row["video_id"], start_s, end_s, tuple(labels), str(path), line)
