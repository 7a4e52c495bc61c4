"""Annotation files of a data root in Ego4D's layout, as records; tabletop has the same layout."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from model.data.json_rows import Row, check_unique, read_json, read_rows
from model.data.records import (
    ActionRecord,
    ChangeRecord,
    SplitRecords,
    each_once,
    read_action,
    read_change,
)
from model.data.row_checks import (
    FPS,
    check_names,
    warn_of_clocks,
    warn_repeated,
    warn_unlabelled,
    warn_without_keyframe,
)
from model.errors import AnnotationInvalid
from model.tasks import TASKS, Sampling

Split = Literal["train", "val", "test", "test_unannotated"]
"""`test` has labels, which only a generated world publishes; `test_unannotated` has none."""

VERSIONS = ("v1", "v2")
"""Folders of a data root; release 2.1 lies in `v2/` too."""

FEATURES = "omnivore_video_swinl"
"""The paper's feature set (Sec. 4.1)."""


@dataclass(frozen=True)
class DataRoot:
    """Paths and files of a data set in Ego4D's layout.

    Attributes:
        root: folder that holds `v1/` or `v2/`, as the Ego4D downloader leaves it.
        version: which of them.
    """

    root: Path
    version: str = "v1"

    @classmethod
    def find(cls, root: Path, version: str | None = None) -> "DataRoot":
        """Returns the root of the given version, else of v1 or v2, the first that has annotations.

        The paper's figures are of v1; the downloader fetches v2 by default.

        Raises:
            AnnotationInvalid: there are none; the message has the download command.
        """
        places = [cls(Path(root), name) for name in ([version] if version else VERSIONS)]
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

    def fetch_command(self, *datasets: str, videos: Sequence[str] = ()) -> str:
        """Returns the Ego4D client's command that downloads data sets to this root.

        Args:
            datasets: their names.
            videos: restricts a set of videos; the client cannot restrict feature sets.
        """
        wanted = f"--video_uids {' '.join(videos)}" if videos else "--benchmarks FHO"
        return (
            f"ego4d --output_directory={shlex.quote(str(self.root))} "
            f"--datasets {' '.join(datasets)} {wanted} --version {self.version} -y"
        )

    @cached_property
    def taxonomy(self) -> dict[str, list[str]]:
        """The label spaces, read once: verb and noun names by id, as many as the file has.

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

    def read(self, split: Split, tasks: Sequence[str] = tuple(TASKS)) -> SplitRecords:
        """Returns a split's records for some tasks; files of other tasks are not opened.

        Raises:
            AnnotationInvalid: as `actions` and `changes` do.
        """
        of_actions = [TASKS[task].sampling is Sampling.ACTIONS for task in tasks]
        return SplitRecords(
            tuple(tasks),
            self.actions(split) if any(of_actions) else [],
            self.changes(split) if not all(of_actions) else [],
        )

    def actions(self, split: Split) -> list[ActionRecord]:
        """Returns a split's actions, grouped by clip, in action order.

        Raises:
            AnnotationInvalid: the file is missing or malformed, an action appears twice, or a
                label is not in the taxonomy or has another name there.
        """
        rows = self._rows("fho_lta", split)
        spaces = self.taxonomy if split != "test_unannotated" else None
        records = [read_action(row, spaces) for row in rows]
        check_unique(rows, "clip_uid", "action_idx")
        if spaces is not None:
            check_names(rows, spaces)
            warn_unlabelled(rows, "verb_label", "noun_label")
        warn_of_clocks(rows, "action_clip")
        return sorted(records, key=lambda r: (r.video_uid, r.clip_uid, r.action_idx))

    def changes(self, split: Split) -> list[ChangeRecord]:
        """Returns a split's OSCC and PNR segments, in file order.

        A labelled row counts each time it is there, as in the official loaders, even with the id
        of another. In the unannotated file an id is a test item and counts once.

        Raises:
            AnnotationInvalid: the file is missing or malformed, or unannotated and two segments
                have one id.
        """
        rows = self._rows("fho_oscc-pnr", split)
        is_labelled = split != "test_unannotated"
        records = [read_change(row, is_labelled=is_labelled) for row in rows]
        warn_of_clocks(rows, "parent")
        if not is_labelled:
            return each_once(rows, records)
        warn_repeated(rows, "unique_id", "each counts, as in the official loaders")
        warn_unlabelled(rows, "state_change")
        without = [
            row
            for row, record in zip(rows, records, strict=True)
            if record.state_change and record.pnr_frame is None
        ]
        warn_without_keyframe(rows, without)
        return records

    @cached_property
    def num_frames(self) -> dict[str, int]:
        """The frame counts in `ego4d.json` by video, read once; none without that file.

        Videos of other rates than 30 frames a second are left out: their features are not indexed
        by their own frames.
        """
        places = (self.root / self.version / "ego4d.json", self.root / "ego4d.json")
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return {}
        rows = read_rows(path, remedy="", under="videos")
        facts = {row.text("video_uid"): row.values.get("video_metadata") or {} for row in rows}
        regular = {uid: known for uid, known in facts.items() if known.get("fps", FPS) == FPS}
        lengths = {uid: known.get("num_frames") for uid, known in regular.items()}
        return {uid: count for uid, count in lengths.items() if isinstance(count, int)}

    @property
    def _remedy(self) -> str:
        return f"To fetch it: {self.fetch_command('annotations', FEATURES)}"

    def _rows(self, stem: str, split: Split) -> list[Row]:
        secret = "Ego4D keeps its test labels; the split test_unannotated is what it publishes."
        path = self._file(stem, split)
        return read_rows(path, remedy=secret if split == "test" else self._remedy)

    def file_of(self, task: str, split: Split) -> Path:
        """Returns the path of the file with a task's labels."""
        is_action = TASKS[task].sampling is Sampling.ACTIONS
        return self._file("fho_lta" if is_action else "fho_oscc-pnr", split)

    def _file(self, stem: str, split: Split) -> Path:
        if split == "test":  # only a generated world has test labels
            return self.root / "hidden" / f"{stem}_test.json"
        return self.annotations / f"{stem}_{split}.json"
