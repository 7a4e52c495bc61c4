"""Reader of EgoExoLearn's annotations: verb and noun of first-person segments.

Columns video_id, start_sec, end_sec, verb and noun; others are ignored. A cell of verb or noun is a
name, or a JSON list of names or ids of which the first counts. `valid_verbs.txt` and
`valid_nouns.txt` beside the files, a label a line, say which labels count; ids are rows of the
taxonomies there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from model.data.tables.csv_rows import read_csv, read_header, read_lines, seconds
from model.data.tables.label_file import SPLITS
from model.data.tables.published import usable_split
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

COLUMNS = ("video_id", "start_sec", "end_sec", "verb", "noun")
VALID = {"verb": "valid_verbs.txt", "noun": "valid_nouns.txt"}
TAXONOMY = {"verb": "narration_verb_taxonomy.csv", "noun": "narration_noun_taxonomy.csv"}


def read_egoexolearn(place: Path) -> SegmentTable:
    """Reads the segments; a row without a label that counts has None there.

    Their published splits share videos, so they are not used.

    Args:
        place: folder with `ego_train.csv` and others in it or below, or one such file.

    Raises:
        AnnotationInvalid: nothing can be read, or a row is invalid; names file, line and column.
    """
    files = label_files(place)
    valid = valid_labels(files[0].parent)
    taxonomy = {output: _taxonomy(files[0].parent / file) for output, file in TAXONOMY.items()}

    def named(row: Segment) -> Segment:
        pairs = zip(VALID, row.labels, strict=True)
        labels = tuple(taxonomy[o].get(label, label) if label else None for o, label in pairs)
        return row._replace(labels=labels)

    rows = [named(row) for row in label_rows(files, valid)]
    parts = {str(path): part for path in files for part in SPLITS if path.stem == f"ego_{part}"}
    split, notes = usable_split((r.video, parts[r.file]) for r in rows if r.file in parts)
    for column, output in enumerate(VALID):
        without = sum(row.labels[column] is None for row in rows)
        notes = (*notes, f"{without} rows have no {output} that counts")
    return SegmentTable.from_segments(str(place), tuple(VALID), rows, split=split, notes=notes)


def label_files(place: Path) -> list[Path]:
    """Returns a file, or those of a folder or up to two levels below it.

    `ego_*.csv` where there are any, else every CSV file that has all columns.

    Raises:
        AnnotationInvalid: there are none, or they are in several folders.
    """
    if place.is_file():
        return [place]
    if not place.exists():
        raise AnnotationInvalid(f"{place}: there is no such file or folder")
    for depth in ("", "*/", "*/*/"):
        files = sorted(place.glob(f"{depth}ego_*.csv")) or sorted(place.glob(f"{depth}*.csv"))
        found = [path for path in files if set(COLUMNS) <= set(read_header(path)[1])]
        if len({path.parent for path in found}) > 1:
            raise AnnotationInvalid(
                f"{place}: label files are in several folders, {found[0]} and {found[-1]}: name one"
            )
        if found:
            return found
    raise AnnotationInvalid(f"{place}: no CSV file has the columns {', '.join(COLUMNS)}")


def valid_labels(folder: Path) -> dict[str, list[str] | None]:
    """Returns the labels that count, by output; None where there is no file of them."""
    paths = {output: folder / name for output, name in VALID.items()}
    return {
        output: [word for _, line in read_lines(path) for word in line.split()]
        if path.is_file()
        else None
        for output, path in paths.items()
    }


def label_rows(
    files: Sequence[Path], valid: Mapping[str, Sequence[str] | None]
) -> Iterator[Segment]:
    """Yields the rows of files, with labels as they stand there and None for those without.

    Raises:
        AnnotationInvalid: a row is invalid.
    """
    allowed = {output: None if names is None else set(names) for output, names in valid.items()}
    for path in files:
        for line, row in read_csv(path, COLUMNS):
            where = f"{path}, line {line}"
            if not row["video_id"]:
                raise AnnotationInvalid(f"{where}, video_id: expected a name, got nothing")
            start_s, end_s = (seconds(where, c, row[c]) for c in ("start_sec", "end_sec"))
            if end_s < start_s:
                raise AnnotationInvalid(
                    f"{where}: end_sec {end_s:g} is before start_sec {start_s:g}"
                )
            labels = tuple(_label(where, o, row[o], allowed[o]) for o in VALID)
            yield Segment(row["video_id"], start_s, end_s, labels, str(path), line)


def _taxonomy(path: Path) -> dict[str, str]:
    """Names by id, which is the row's number from 0; none without the file."""
    if not path.is_file():
        return {}
    return {str(i): row["label"] for i, (_, row) in enumerate(read_csv(path, ("label",)))}


def _label(where: str, column: str, text: str, valid: set[str] | None) -> str | None:
    """The first label that counts."""
    labels: list[object] = [text] if text else []
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except ValueError:
            labels = [None]
        if not all(type(label) in (int, str) for label in labels):
            raise AnnotationInvalid(
                f"{where}, {column}: expected a name or a JSON list of names or ids, got {text!r}"
            )
    names = [str(label) for label in labels]
    return next((name for name in names if name and (valid is None or name in valid)), None)
