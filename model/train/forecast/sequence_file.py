"""Label sequences from CSV files: who did what when, without features.

Columns are those of EgoExoLearn's files, see `model/data/tables/readers/egoexolearn.py`. A row
without a verb or without a noun is left out, and counted.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.data.tables.readers.egoexolearn import VALID, label_files, label_rows, valid_labels
from model.errors import AnnotationInvalid

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


def read_sequences(place: Path) -> LabelSequences:
    """Reads a CSV file, or the files of a folder as `label_files` finds them, as one data set.

    Args:
        place: the file or the folder.

    Raises:
        AnnotationInvalid: nothing can be read, or a row is invalid; names file, line and column.
    """
    files = label_files(place)
    valid = valid_labels(files[0].parent)
    rows = list(label_rows(files, valid))
    kept = [row for row in rows if None not in row.labels]
    if not kept:
        raise AnnotationInvalid(f"{place}: no row has a verb and a noun")
    columns = zip(VALID, zip(*(row.labels for row in kept), strict=True), strict=True)
    labels = {output: _names(column, valid[output]) for output, column in columns}
    ids = [{name: i for i, name in enumerate(names)} for names in labels.values()]
    by_video: dict[str, list[tuple[float, ...]]] = {}
    for row in kept:
        step = [known[str(label)] for known, label in zip(ids, row.labels, strict=True)]
        by_video.setdefault(row.video, []).append((row.start_s, row.end_s, *step))
    videos = {
        name: torch.tensor([step[2:] for step in sorted(by_video[name])]) for name in by_video
    }
    return LabelSequences(labels, videos, len(rows) - len(kept))


def _names(column: Sequence[str | None], valid: Sequence[str] | None) -> list[str]:
    """The labels there are, in the order of those that count."""
    found = {label for label in column if label is not None}
    return [name for name in dict.fromkeys(valid) if name in found] if valid else sorted(found)
