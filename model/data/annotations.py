"""Ego4D's annotation files -> records. The same layout holds for Ego4D itself and for tabletop.

Times become absolute frames of the full video here, once: action windows are stored relative to
their canonical clip, features are not. Frame fields are the truth; seconds are on the container's
clock, which starts a little before the first frame in many videos.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.data.fields import Row, check_unique, read_json, read_rows
from model.errors import AnnotationInvalid

logger = logging.getLogger(__name__)

Split = Literal["train", "val", "test", "test_unannotated"]
"""`test` has its labels, which only a made-up world can offer; `test_unannotated` has none."""

FEATURES = "omnivore_video_swinl"
"""The paper's feature set (Sec. 4.1)."""

FPS = 30
"""Every canonical video's frame rate."""

CLOCK_TOLERANCE_FRAMES = 3
"""Streams start some 0.02 s late and frames are rounded: that explains two frames, not four."""


@dataclass(frozen=True)
class ActionRecord:
    """One annotated action window of `fho_lta_*.json`.

    Attributes:
        start_frame: first frame, counted in the full video.
        end_frame: frame after the last one.
        verb: taxonomy position, None where labels are hidden.
        noun: taxonomy position, None where labels are hidden.
    """

    video_uid: str
    clip_uid: str
    action_idx: int
    start_frame: int
    end_frame: int
    verb: int | None
    noun: int | None


@dataclass(frozen=True)
class ChangeRecord:
    """One segment of `fho_oscc-pnr_*.json`.

    Attributes:
        start_frame: first frame, counted in the full video.
        end_frame: frame after the last one.
        start_s: the same bound in seconds, as annotated.
        end_s: the same bound in seconds, as annotated.
        state_change: the OSCC label, None where hidden.
        pnr_frame: keyframe in the full video; None on negatives and where hidden.
    """

    unique_id: str
    video_uid: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    state_change: bool | None
    pnr_frame: int | None


@dataclass(frozen=True)
class DataRoot:
    """Where a data set in Ego4D's layout keeps its files.

    Attributes:
        root: folder that holds `v1/` or `v2/`, as the Ego4D downloader leaves it.
        version: which of them; release 2.1 lies in `v2/` too.
    """

    root: Path
    version: str = "v1"

    @classmethod
    def find(cls, root: Path, version: str | None = None) -> "DataRoot":
        """Returns the annotations that are there: of the version given, else v1 before v2.

        The paper's numbers are v1's; the downloader fetches v2 unless told otherwise.

        Raises:
            AnnotationInvalid: there are none; the message says how to fetch them.
        """
        places = [cls(Path(root), name) for name in ([version] if version else ["v1", "v2"])]
        for place in places:
            if any(place.annotations.glob("fho_*.json")):
                return place
        looked = " or ".join(str(place.annotations / "fho_*.json") for place in places)
        raise AnnotationInvalid(
            f"no annotations: looked for {looked}. "
            f"To fetch them: {places[0].fetch_command('annotations', FEATURES)}"
        )

    @property
    def annotations(self) -> Path:
        """Folder of the annotation files."""
        return self.root / self.version / "annotations"

    @property
    def videos(self) -> Path:
        """Folder of the full videos."""
        return self.root / self.version / "full_scale"

    def features(self, name: str) -> Path:
        """Folder of a feature set."""
        return self.root / self.version / name

    def fetch_command(self, *datasets: str) -> str:
        """Returns the command line of the Ego4D client that brings data sets here."""
        return (
            f"ego4d --output_directory={self.root} --datasets {' '.join(datasets)} "
            f"--benchmarks FHO --version {self.version} -y"
        )

    def taxonomy(self) -> dict[str, list[str]]:
        """Returns the label spaces: verb and noun names by id, as many as the file has.

        Raises:
            AnnotationInvalid: the file is missing or malformed.
        """
        path = self.annotations / "fho_lta_taxonomy.json"
        values = read_json(path, remedy=self._remedy)
        spaces = {}
        for space in ("verb", "noun"):
            names = values.get(f"{space}s") if isinstance(values, dict) else None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise AnnotationInvalid(f"{path}: expected a list of names under '{space}s'")
            spaces[space] = names
        return spaces

    def actions(self, split: Split) -> list[ActionRecord]:
        """Returns a split's actions, grouped by clip, in action order.

        Raises:
            AnnotationInvalid: the file is missing or malformed, or a label is not in the taxonomy.
        """
        rows = self._rows("fho_lta", split)
        counts = None
        if split != "test_unannotated":
            counts = {space: len(names) for space, names in self.taxonomy().items()}
        records = [_action(row, counts) for row in rows]
        check_unique(rows, "clip_uid", "action_idx")
        _compare_clocks(rows, "action_clip")
        return sorted(records, key=lambda r: (r.video_uid, r.clip_uid, r.action_idx))

    def changes(self, split: Split) -> list[ChangeRecord]:
        """Returns a split's OSCC and PNR segments, in file order.

        Raises:
            AnnotationInvalid: the file is missing or malformed.
        """
        rows = self._rows("fho_oscc-pnr", split)
        records = [_change(row, is_labelled=split != "test_unannotated") for row in rows]
        check_unique(rows, "unique_id")
        _compare_clocks(rows, "parent")
        return records

    def num_frames(self) -> dict[str, int]:
        """Returns the lengths of all videos that `ego4d.json` tells, none without that file."""
        places = (self.root / self.version / "ego4d.json", self.root / "ego4d.json")
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return {}
        rows = read_rows(path, remedy="", under="videos")
        facts = {row.text("video_uid"): row.values.get("video_metadata") or {} for row in rows}
        lengths = {uid: known.get("num_frames") for uid, known in facts.items()}
        return {uid: count for uid, count in lengths.items() if isinstance(count, int)}

    @property
    def _remedy(self) -> str:
        return f"To fetch it: {self.fetch_command('annotations', FEATURES)}"

    def _rows(self, stem: str, split: Split) -> list[Row]:
        secret = "Ego4D keeps its test labels; the split test_unannotated is what it publishes."
        path = self._file(stem, split)
        return read_rows(path, remedy=secret if split == "test" else self._remedy)

    def _file(self, stem: str, split: Split) -> Path:
        if split == "test":  # only a made-up world has its test truth at hand
            return self.root / "hidden" / f"{stem}_test.json"
        return self.annotations / f"{stem}_{split}.json"


def group_by_clip(actions: list[ActionRecord]) -> Iterator[list[int]]:
    """Yields the positions of each clip's actions, in action order."""
    groups: dict[str, list[int]] = {}
    for position, record in enumerate(actions):
        groups.setdefault(record.clip_uid, []).append(position)
    for positions in groups.values():
        yield sorted(positions, key=lambda p: actions[p].action_idx)


def _action(row: Row, counts: dict[str, int] | None) -> ActionRecord:
    """Reads an action; without sizes of the label spaces, its labels are hidden."""
    clip_start = row.whole("clip_parent_start_frame")
    start, end = _bounds(row, "action_clip")
    return ActionRecord(
        video_uid=row.text("video_uid"),
        clip_uid=row.text("clip_uid"),
        action_idx=row.whole("action_idx"),
        start_frame=clip_start + start,
        end_frame=clip_start + end,
        verb=row.label("verb_label", counts["verb"]) if counts else None,
        noun=row.label("noun_label", counts["noun"]) if counts else None,
    )


def _change(row: Row, *, is_labelled: bool) -> ChangeRecord:
    start, end = _bounds(row, "parent")
    state_change = row.flag("state_change") if is_labelled else None
    has_keyframe = state_change and row.values.get("parent_pnr_frame") is not None
    start_s, end_s = row.number("parent_start_sec"), row.number("parent_end_sec")
    if end_s <= start_s:
        raise row.error("parent_end_sec", f"a time after the start, {start_s}", end_s)
    return ChangeRecord(
        unique_id=row.text("unique_id"),
        video_uid=row.text("video_uid"),
        start_frame=start,
        end_frame=end,
        start_s=start_s,
        end_s=end_s,
        state_change=state_change,
        pnr_frame=row.whole("parent_pnr_frame") if has_keyframe else None,
    )


def _bounds(row: Row, prefix: str) -> tuple[int, int]:
    start, end = row.whole(f"{prefix}_start_frame"), row.whole(f"{prefix}_end_frame")
    if end <= start:
        raise row.error(f"{prefix}_end_frame", f"a frame after the start, {start}", end)
    return start, end


def _compare_clocks(rows: Sequence[Row], prefix: str) -> None:
    """Warns once of seconds that contradict frames by more than a late stream explains."""
    apart = 0
    for row in rows:
        for bound in (f"{prefix}_start", f"{prefix}_end"):
            if row.values.get(f"{bound}_sec") is None:
                continue
            shift = row.number(f"{bound}_sec") * FPS - row.whole(f"{bound}_frame")
            if abs(shift) > CLOCK_TOLERANCE_FRAMES:
                apart += 1
                break
    if apart:
        logger.warning(
            "%s: in %d of %d rows seconds and frames are more than %d frames apart; frames count",
            rows[0].file,
            apart,
            len(rows),
            CLOCK_TOLERANCE_FRAMES,
        )
