"""Labels file of a user-defined task (CSV): labelled segments of videos.

Columns video, start_s, end_s, then `label`, or `time_s` for a localisation task, and optionally
`split`. Every error names the line and the column.
"""

import csv
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from model.errors import AnnotationInvalid

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
VAL_SHARE = 0.2
"""Of the videos, where the file has no split column."""


@dataclass(frozen=True)
class LabelRow:
    """One line of a labels file.

    Attributes:
        line: its number, for error messages.
        video: name of the file without its suffix.
        start_s: start of the segment.
        end_s: end of the segment.
        label: its class; "" in a localisation task.
        time_s: the instant inside the segment; None in a classification task.
        split: "" until `assign_splits`.
    """

    line: int
    video: str
    start_s: float
    end_s: float
    label: str
    time_s: float | None
    split: Split | Literal[""]


def read_labels(
    path: Path, *, localises: bool, labels: Sequence[str] | None = None
) -> list[LabelRow]:
    """Reads a labels file, rows in the file's order.

    Args:
        path: a CSV file in UTF-8 with a header.
        localises: rows have an instant, not a label.
        labels: allowed labels; None allows any.

    Raises:
        AnnotationInvalid: the file or a row is invalid; names line, column, value and the rule.
    """
    target = "time_s" if localises else "label"
    needed = ("video", "start_s", "end_s", target)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or (), needed)
            rows = [_file_row(path, reader.line_num, values, target, labels) for values in reader]
    except OSError as error:
        raise AnnotationInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise AnnotationInvalid(f"{path}: not CSV in UTF-8: {error}") from error
    if not rows:
        raise AnnotationInvalid(f"{path}: no rows below the header")
    return rows


def assign_splits(rows: Sequence[LabelRow], *, seed: int, needs_val: bool = True) -> list[LabelRow]:
    """Returns the rows with their splits: the file's, or 80 % train and 20 % val by video.

    Args:
        rows: of a labels file.
        seed: of the split by video.
        needs_val: else rows without a split are all for train.

    Raises:
        AnnotationInvalid: there is no row for train, or none for val where one is needed.
    """
    split_of: Mapping[str, Split] = {}
    if not rows[0].split:
        videos = sorted({row.video for row in rows})
        random.Random(seed).shuffle(videos)
        num_val = max(1, round(VAL_SHARE * len(videos))) if needs_val else 0
        split_of = {v: "val" if i < num_val else "train" for i, v in enumerate(videos)}
    split = [replace(row, split=row.split or split_of[row.video]) for row in rows]
    for wanted in ("train", "val") if needs_val else ("train",):
        if not any(row.split == wanted for row in split):
            raise AnnotationInvalid(
                f"no row is for {wanted}: give rows of at least two videos, or a column `split` "
                f"of {', '.join(SPLITS)}"
            )
    return split


def label_names(rows: Sequence[LabelRow], labels: Sequence[str] | None) -> list[str]:
    """Returns the label space: the one given, or all labels of the rows, sorted.

    Raises:
        AnnotationInvalid: there are fewer than two labels, or one has no training row.
    """
    names = list(labels) if labels is not None else sorted({row.label for row in rows})
    if len(names) < 2:
        raise AnnotationInvalid(
            f"all rows have the label {names[0]!r}: there must be at least 2 labels to tell apart"
        )
    seen = {row.label for row in rows if row.split == "train"}
    unseen = [name for name in names if name not in seen]
    if unseen:
        raise AnnotationInvalid(
            f"no training row has the label {unseen[0]!r}: add one, move one there with a column "
            "`split`, or take the label out"
        )
    return names


class CellInvalid(Exception):
    """A row of labels is wrong; the message says what was expected and what came.

    Attributes:
        column: of the wrong cell; "" where the whole row is wrong.
    """

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def parse_row(
    line: int,
    values: Mapping[str | None, str | None],
    target: str,
    labels: Sequence[str] | None,
) -> LabelRow:
    """Returns one row from its cells as text, as `csv.DictReader` gives them.

    Args:
        line: its number.
        values: column -> cell.
        target: "label" or "time_s".
        labels: allowed labels; None allows any.

    Raises:
        CellInvalid: a cell is missing or wrong.
    """

    def wrong(column: str, allowed: str) -> CellInvalid:
        return CellInvalid(column, f"expected {allowed}, got {values.get(column)!r:.80}")

    def number(column: str) -> float:
        try:
            value = float(values[column] or "")
        except ValueError as error:
            raise wrong(column, "seconds") from error
        if not (math.isfinite(value) and value >= 0):
            raise wrong(column, "seconds from the video's start, 0 or more")
        return value

    if None in values or None in values.values():
        raise CellInvalid(
            "",
            "not as many values as the header has columns; a label with a comma stands in double "
            'quotes ("cut, then peel")',
        )
    text = {column: (value or "").strip() for column, value in values.items()}
    if not text["video"] or set(text["video"]) & {"/", "\0"}:
        raise wrong("video", "a file's name without its folder and its ending")
    start_s, end_s = number("start_s"), number("end_s")
    if end_s <= start_s:
        raise wrong("end_s", f"more than start_s ({start_s:g})")
    time_s = number("time_s") if target == "time_s" else None
    if time_s is not None and not start_s <= time_s < end_s:
        raise wrong("time_s", f"at least {start_s:g} and less than {end_s:g}, inside the segment")
    label = text.get("label", "")
    if target == "label" and (not label or (labels is not None and label not in labels)):
        raise wrong("label", "a name" if labels is None else f"one of {', '.join(labels)}")
    split: Split | Literal[""] = next((s for s in SPLITS if s == text.get("split")), "")
    if "split" in text and not split:
        raise wrong("split", f"one of {', '.join(SPLITS)}")
    return LabelRow(line, text["video"], start_s, end_s, label, time_s, split)


def _check_header(path: Path, found: Sequence[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in found]
    unknown = [name for name in found if name not in {*needed, "split"}]
    if missing or unknown or len(set(found)) != len(found):
        raise AnnotationInvalid(
            f"{path}, line 1: expected the columns {', '.join(needed)} and, if wanted, split; "
            f"got {', '.join(map(str, found)) or 'nothing'}"
        )


def _file_row(
    path: Path,
    line: int,
    values: Mapping[str | None, str | None],
    target: str,
    labels: Sequence[str] | None,
) -> LabelRow:
    try:
        return parse_row(line, values, target, labels)
    except CellInvalid as error:
        column = f", column {error.column}" if error.column else ""
        raise AnnotationInvalid(f"{path}, line {line}{column}: {error}") from error
