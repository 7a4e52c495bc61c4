"""The table of labelled segments, which every data set is read into."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.data.tables.label_file import SPLITS, Split
from model.data.tables.problems import Problems
from model.nodes import TOLERANCE_S


class Segment(NamedTuple):
    """One row of a table.

    Attributes:
        video: its id.
        start_s: seconds from the video's start.
        end_s: seconds from the video's start.
        labels: one for every output, None where there is none.
        file: that the row comes from.
        place: line of that file, or the entry's path in it.
    """

    video: str
    start_s: float
    end_s: float
    labels: tuple[str | None, ...]
    file: str
    place: int | str


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """Labelled segments of videos, by video and start; R rows.

    Attributes:
        source: the file or folder that was read, for messages.
        video: (R,) id of each row's video, in Unicode NFC.
        start_s: (R,) float64 seconds from the video's start.
        end_s: (R,) float64, after `start_s`.
        labels: output -> (R,) labels, None where a row has none.
        file: (R,) that each row comes from.
        place: (R,) line in that file, or the entry's path.
        split: split of each video; None where the data set has none, see `split_by_video`.
        file_names: what the file of a video is called, without its ending, where `{}` is the id.
        notes: what a user should know of the reading: rows left out, splits not used.
    """

    source: str
    video: tuple[str, ...]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    labels: Mapping[str, tuple[str | None, ...]]
    file: tuple[str, ...]
    place: tuple[int | str, ...]
    split: Mapping[str, Split] | None = None
    file_names: tuple[str, ...] = ("{}",)
    notes: tuple[str, ...] = ()

    @classmethod
    def from_segments(
        cls,
        source: str,
        outputs: Sequence[str],
        segments: Iterable[Segment],
        *,
        split: Mapping[str, Split] | None = None,
        file_names: tuple[str, ...] = ("{}",),
        notes: tuple[str, ...] = (),
    ) -> "SegmentTable":
        """Returns the table of some rows, sorted.

        Args:
            source: as in the table.
            outputs: names of the labels, in the order of the rows' labels.
            segments: in any order.
            split: as in the table; videos without rows are left out.
            file_names: as in the table.
            notes: as in the table.

        Raises:
            AnnotationInvalid: there is no row, or some are invalid; names their files and lines.
        """
        rows = sorted(map(_with_composed_name, segments), key=itemgetter(0, 1, 2))
        video, start_s, end_s, labels, file, place = (
            zip(*rows, strict=True) if rows else ((),) * len(Segment._fields)
        )
        columns = zip(*labels, strict=True) if rows else ((),) * len(outputs)
        if split is not None:
            there = set(video)
            split = {n: part for name, part in split.items() if (n := composed(name)) in there}
        return cls(
            source,
            video,
            np.array(start_s, dtype=np.float64),
            np.array(end_s, dtype=np.float64),
            dict(zip(outputs, columns, strict=True)),
            file,
            place,
            split,
            file_names,
            notes,
        )

    def __post_init__(self) -> None:
        """Checks the rows.

        Raises:
            AnnotationInvalid: there is no row or no output, an output has no label, a segment is
                no stretch of time, or a split is unknown or missing; names all rows of a kind.
            ValueError: columns differ in length, or rows are not sorted.
        """
        columns: list[Sized] = [self.start_s, self.end_s, *self.labels.values()]
        columns += [self.file, self.place]
        if any(len(column) != len(self.video) for column in columns):
            raise ValueError(f"expected {len(self.video)} values in every column")
        keys = pairwise(zip(self.video, self.start_s.tolist(), strict=True))
        if any(before > after for before, after in keys):
            raise ValueError("expected rows by video and start")
        self._check_times()
        self._check_filled()
        if self.split is not None:
            wrong = Problems(f"{self.source}, splits", f"Known are {', '.join(SPLITS)}.")
            for name in self.videos:
                if self.split.get(name) not in SPLITS:
                    wrong.add(f"video {name}: expected one, got {self.split.get(name)!r}")
            wrong.check()

    def __len__(self) -> int:
        return len(self.video)

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} {len(self.names(name))}" for name in self.labels)
        return f"SegmentTable({len(self)} rows, {len(self.videos)} videos, labels: {outputs})"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the label columns."""
        return tuple(self.labels)

    @cached_property
    def videos(self) -> tuple[str, ...]:
        """The videos, sorted."""
        return tuple(dict.fromkeys(self.video))

    def names(self, output: str) -> list[str]:
        """Returns the labels of an output, sorted, each once."""
        return sorted({label for label in self.labels[output] if label is not None})

    def where(self, row: int) -> str:
        """Returns the file and the line of a row, in words."""
        place = self.place[row]
        return f"{self.file[row]}, {f'line {place}' if isinstance(place, int) else place}"

    def rows_in(self, split: Split) -> list[int]:
        """Returns the positions of a split's rows.

        Raises:
            ValueError: the table has no splits.
        """
        if self.split is None:
            raise ValueError("the table has no splits: see split_by_video")
        return [row for row, name in enumerate(self.video) if self.split[name] == split]

    def take(self, rows: Sequence[int]) -> "SegmentTable":
        """Returns the table of some rows, given in order.

        Raises:
            AnnotationInvalid: no row is left, or an output has no label left.
        """
        kept = [self.video[row] for row in rows]
        names = set(kept)
        return replace(
            self,
            video=tuple(kept),
            start_s=self.start_s[list(rows)],
            end_s=self.end_s[list(rows)],
            labels={o: tuple(v[row] for row in rows) for o, v in self.labels.items()},
            file=tuple(self.file[row] for row in rows),
            place=tuple(self.place[row] for row in rows),
            split=self.split and {n: part for n, part in self.split.items() if n in names},
        )

    def only(self, outputs: Sequence[str]) -> "SegmentTable":
        """Returns the table of some outputs, without the rows that have a label of none of them.

        Raises:
            AnnotationInvalid: there is no such output.
        """
        unknown = Problems(self.source, f"It has labels of {', '.join(self.labels)}.")
        for name in outputs:
            if name not in self.labels:
                unknown.add(f"there is no column {name!r}")
        unknown.check()
        kept = replace(self, labels={name: self.labels[name] for name in outputs})
        filled = [row for row in range(len(self)) if any(v[row] for v in kept.labels.values())]
        return kept.take(filled)

    def check_ends(self, durations_s: Mapping[str, float]) -> None:
        """Checks that every row ends within its video.

        Args:
            durations_s: of the videos that are known; others are not checked.

        Raises:
            AnnotationInvalid: rows end later; names them all.
        """
        late = Problems(f"{self.source}, rows beyond the end of their video")
        for row, (name, end_s) in enumerate(zip(self.video, self.end_s.tolist(), strict=True)):
            last_s = durations_s.get(name)
            if last_s is not None and end_s > last_s + TOLERANCE_S:
                late.add(f"{self.where(row)}: ends at {end_s:g} s; {name} ends at {last_s:.3f} s")
        late.check()

    def _check_filled(self) -> None:
        empty = Problems(self.source)
        if not self.video:
            empty.add("no row has a segment")
        elif not self.labels:
            empty.add("no column has labels")
        for name, values in self.labels.items():
            if self.video and not any(values):
                empty.add(f"no row has a label of {name}")
        empty.check()

    def _check_times(self) -> None:
        wrong = Problems(f"{self.source}, segments", "Expected 0 <= start < end, in seconds.")
        good = (self.start_s >= 0) & (self.start_s < self.end_s) & np.isfinite(self.end_s)
        for row in np.flatnonzero(~good).tolist():
            wrong.add(f"{self.where(row)}: {self.start_s[row]:g} to {self.end_s[row]:g}")
        wrong.check()


def _with_composed_name(row: Segment) -> Segment:
    return row if row.video.isascii() else row._replace(video=composed(row.video))


def composed(name: str) -> str:
    """Returns a name in Unicode NFC: as one sees it, however its umlauts are stored."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
