"""Reader of EGTEA Gaze+: action, verb and noun of clips cut from longer videos."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from model.data.tables.csv_rows import read_lines
from model.data.tables.label_file import Split
from model.data.tables.published import need_file, usable_split
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

FOLDERS = ("action_annotation",)
FILES: Mapping[str, Split] = {"train_split1.txt": "train", "test_split1.txt": "val"}
NAMES = {"action": "action_idx.txt", "verb": "verb_idx.txt", "noun": "noun_idx.txt"}

_CLIP = re.compile(r"(?P<video>.+)-(?P<start_ms>\d+)-(?P<end_ms>\d+)-F\d+-F\d+")


def read_egtea(root: Path) -> SegmentTable:
    """Reads the clips of the first split; of several nouns the first counts.

    A clip's name has its video and its milliseconds, such as
    `P01-R01-PastaSalad-66680-68130-F001597-F001641`.

    Args:
        root: folder with the lists and the names of labels, as published, in it or below.

    Raises:
        AnnotationInvalid: a file is missing or malformed; names the line.
    """
    names = {output: _names(need_file(root, file, FOLDERS)) for output, file in NAMES.items()}
    rows = {p: list(_rows(need_file(root, file, FOLDERS), names)) for file, p in FILES.items()}
    pairs = ((row.video, part) for part, segments in rows.items() for row in segments)
    split, notes = usable_split(pairs)
    segments = (row for part in rows.values() for row in part)
    return SegmentTable.from_segments(str(root), tuple(NAMES), segments, split=split, notes=notes)


def _rows(path: Path, names: Mapping[str, Mapping[str, str]]) -> Iterator[Segment]:
    for line, text in read_lines(path):
        clip, *ids = text.split()
        named = _CLIP.fullmatch(clip)
        if named is None or len(ids) < len(names):
            raise AnnotationInvalid(
                f"{path}, line {line}: expected VIDEO-START-END-Fn-Fn, then an id of the action, "
                f"the verb and each noun, got {text!r:.120}"
            )
        pairs = zip(names.items(), ids, strict=False)
        labels = tuple(
            _name(f"{path}, line {line}", output, known, i) for (output, known), i in pairs
        )
        start_s, end_s = int(named["start_ms"]) / 1000, int(named["end_ms"]) / 1000
        yield Segment(named["video"], start_s, end_s, labels, str(path), line)


def _name(where: str, output: str, known: Mapping[str, str], label: str) -> str:
    if label not in known:
        raise AnnotationInvalid(
            f"{where}, {output}: expected an id of {NAMES[output]}, got {label!r:.80}"
        )
    return known[label]


def _names(path: Path) -> dict[str, str]:
    """Names by id: each line ends with the id."""
    names = {}
    for line, text in read_lines(path):
        name, _, label = text.rpartition(" ")
        if not name.strip() or not label.isdigit() or label in names:
            raise AnnotationInvalid(
                f"{path}, line {line}: expected a name and an id of its own, got {text!r:.80}"
            )
        names[label] = name.strip()
    return names
