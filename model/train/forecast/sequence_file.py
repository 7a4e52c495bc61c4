"""Label sequences from CSV files: who did what when, without features.

Columns video_id, start_sec, end_sec, verb and noun; others are ignored. A cell of verb or noun is a
name, or a JSON list of names or ids of which the first counts, as EgoExoLearn publishes them
(`ego_train.csv` and others). `valid_verbs.txt` and `valid_nouns.txt` beside the files, a label a
line, say which labels count. A row without a verb or without a noun is left out, and counted.
"""

import csv
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.errors import AnnotationInvalid

COLUMNS = ("video_id", "start_sec", "end_sec", "verb", "noun")
VALID = {"verb": "valid_verbs.txt", "noun": "valid_nouns.txt"}
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Of the videos, in each split."""


@dataclass(frozen=True, eq=False)
class LabelSequences:
    """Actions of every video in time order.

    Attributes:
        labels: "verb" and "noun" -> names by id.
        videos: video -> (T, 2) verb and noun ids, by video name.
        left_out: rows without a verb or a noun.
    """

    labels: dict[str, list[str]]
    videos: dict[str, Tensor]
    left_out: int

    def split(self, seed: int) -> dict[str, list[Tensor]]:
        """Returns train, val and test sequences: 70, 15 and 15 % of the videos, shuffled."""
        names = sorted(self.videos)
        random.Random(seed).shuffle(names)
        bounds = [0, *(round(len(names) * share) for share in (0.7, 0.85)), len(names)]
        return {
            split: [self.videos[name] for name in names[start:end]]
            for split, start, end in zip(SHARES, bounds[:-1], bounds[1:], strict=True)
        }


@dataclass(frozen=True)
class _Row:
    video: str
    start_s: float
    end_s: float
    verb: str
    noun: str


def read_sequences(place: Path) -> LabelSequences:
    """Reads a CSV file, or every CSV file of a folder that has all columns, as one data set.

    Args:
        place: the file or the folder.

    Raises:
        AnnotationInvalid: nothing can be read, or a row is invalid; names file, line and column.
    """
    files = _files(place)
    folder = place if place.is_dir() else place.parent
    valid = {output: _valid(folder / name) for output, name in VALID.items()}
    rows, left_out = [], 0
    for file in files:
        for row in _rows(file, valid):
            if row is None:
                left_out += 1
            else:
                rows.append(row)
    if not rows:
        raise AnnotationInvalid(f"{place}: no row has a verb and a noun")
    labels = {output: _names(output, rows, valid[output]) for output in VALID}
    index = {output: {name: i for i, name in enumerate(labels[output])} for output in VALID}
    by_video: dict[str, list[tuple[float, float, int, int]]] = {}
    for row in rows:
        ids = index["verb"][row.verb], index["noun"][row.noun]
        by_video.setdefault(row.video, []).append((row.start_s, row.end_s, *ids))
    videos = {
        name: torch.tensor([step[2:] for step in sorted(by_video[name])]) for name in by_video
    }
    return LabelSequences(labels, videos, left_out)


def _files(place: Path) -> list[Path]:
    if not place.exists():
        raise AnnotationInvalid(f"{place}: there is no such file or folder")
    if place.is_file():
        return [place]
    found = [path for path in sorted(place.glob("*.csv")) if set(COLUMNS) <= set(_header(path))]
    if not found:
        raise AnnotationInvalid(f"{place}: no CSV file has the columns {', '.join(COLUMNS)}")
    return found


def _header(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _valid(path: Path) -> list[str] | None:
    return path.read_text(encoding="utf-8").split() if path.is_file() else None


def _names(output: str, rows: Sequence[_Row], valid: Sequence[str] | None) -> list[str]:
    found = {getattr(row, output) for row in rows}
    return [name for name in dict.fromkeys(valid) if name in found] if valid else sorted(found)


def _rows(path: Path, valid: Mapping[str, list[str] | None]) -> Iterator[_Row | None]:
    """The rows of a file; None for one without a verb or a noun that counts."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise AnnotationInvalid(
                    f"{path}: needs the columns {', '.join(COLUMNS)}; lacks {', '.join(missing)}"
                )
            for values in reader:
                where = f"{path}, line {reader.line_num}"
                yield _row(where, values, valid)
    except (csv.Error, UnicodeDecodeError) as error:
        raise AnnotationInvalid(f"{path}: not CSV in UTF-8: {error}") from error


def _row(
    where: str, values: Mapping[str, str | None], valid: Mapping[str, list[str] | None]
) -> _Row | None:
    if None in values or any(values[column] is None for column in COLUMNS):
        raise AnnotationInvalid(f"{where}: has more or fewer cells than the header")
    video = str(values["video_id"]).strip()
    if not video:
        raise AnnotationInvalid(f"{where}, video_id: expected a name, got nothing")
    start_s, end_s = (_seconds(where, values, column) for column in ("start_sec", "end_sec"))
    if end_s < start_s:
        raise AnnotationInvalid(f"{where}: end_sec {end_s:g} is before start_sec {start_s:g}")
    verb, noun = (_label(where, values, column, valid[column]) for column in VALID)
    return _Row(video, start_s, end_s, verb, noun) if verb and noun else None


def _seconds(where: str, values: Mapping[str, str | None], column: str) -> float:
    try:
        found = float(str(values[column]))
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise AnnotationInvalid(
            f"{where}, {column}: expected seconds from 0, got {values[column]!r}"
        )
    return found


def _label(
    where: str, values: Mapping[str, str | None], column: str, valid: Sequence[str] | None
) -> str:
    """The first label that counts; "" if there is none."""
    text = str(values[column]).strip()
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
    return next((name for name in names if valid is None or name in valid), "")
