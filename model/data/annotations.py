"""Ego4D's annotation files -> records. The same layout holds for Ego4D itself and for tabletop.

Times become absolute frames of the full video here, once: action windows are stored relative to
their canonical clip, features are not.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.errors import AnnotationInvalid

Split = Literal["train", "val", "test", "test_unannotated"]


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
        root: folder that holds `v1/` (or `v2/`).
        version: which of them.
    """

    root: Path
    version: str = "v1"

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

    def taxonomy(self) -> dict[str, list[str]]:
        """Returns the label spaces: verb and noun names by id.

        Raises:
            AnnotationInvalid: the file is missing or malformed.
        """
        values = _read(self.annotations / "fho_lta_taxonomy.json")
        return {"verb": list(_field(values, "verbs")), "noun": list(_field(values, "nouns"))}

    def actions(self, split: Split) -> list[ActionRecord]:
        """Returns a split's labelled actions, grouped by clip, in action order.

        Raises:
            AnnotationInvalid: the file is missing or malformed.
        """
        records = [_action(row) for row in _rows(self._file("fho_lta", split))]
        return sorted(records, key=lambda r: (r.video_uid, r.clip_uid, r.action_idx))

    def changes(self, split: Split) -> list[ChangeRecord]:
        """Returns a split's labelled OSCC and PNR segments, in file order.

        Raises:
            AnnotationInvalid: the file is missing or malformed.
        """
        return [_change(row) for row in _rows(self._file("fho_oscc-pnr", split))]

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


def _action(row: dict[str, Any]) -> ActionRecord:
    clip_start = int(_field(row, "clip_parent_start_frame"))
    return ActionRecord(
        video_uid=str(_field(row, "video_uid")),
        clip_uid=str(_field(row, "clip_uid")),
        action_idx=int(_field(row, "action_idx")),
        start_frame=clip_start + int(_field(row, "action_clip_start_frame")),
        end_frame=clip_start + int(_field(row, "action_clip_end_frame")),
        verb=row.get("verb_label"),
        noun=row.get("noun_label"),
    )


def _change(row: dict[str, Any]) -> ChangeRecord:
    return ChangeRecord(
        unique_id=str(_field(row, "unique_id")),
        video_uid=str(_field(row, "video_uid")),
        start_frame=int(_field(row, "parent_start_frame")),
        end_frame=int(_field(row, "parent_end_frame")),
        start_s=float(_field(row, "parent_start_sec")),
        end_s=float(_field(row, "parent_end_sec")),
        state_change=row.get("state_change"),
        pnr_frame=row.get("parent_pnr_frame"),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    values = _read(path)
    rows = values if isinstance(values, list) else _field(values, "clips")
    return list(rows)


def _field(row: dict[str, Any], name: str) -> Any:
    try:
        return row[name]
    except KeyError as error:
        raise AnnotationInvalid(f"no field {error} in {sorted(row)[:8]}") from error


def _read(path: Path) -> Any:
    if not path.is_file():
        raise AnnotationInvalid(
            f"{path} is not there. A data root holds v1/annotations/*.json as the Ego4D "
            "downloader leaves them: ego4d --datasets annotations --benchmarks FHO --version v1"
        )
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise AnnotationInvalid(f"{path} is not JSON: {error}") from error
