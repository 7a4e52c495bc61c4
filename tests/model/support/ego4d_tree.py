"""A tiny data set in Ego4D's layout, sound until a test spoils it; every name is invented.

`EgoTree(version)` holds the files as plain values. A defect is a function that changes them; then
`write` puts them below a folder. Defects and what must come of them stand in `test_defects.py`.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.features.store import FeatureStore
from extract.features.track import FeatureTrack
from model.data.annotations import FEATURES
from tests.support.factories import make_track

Row = dict[str, Any]
Defect = Callable[["EgoTree"], object]

VIDEOS = {"train": ("vid-t0", "vid-t1"), "val": ("vid-v0", "vid-v1"),
          "test_unannotated": ("vid-u0",)}  # fmt: skip
ACTIONS = 30  # of each video: eight windows of LTA more than none
FRAMES = 2700
VERBS = ["tug", "fold_(crease)", "pour_(tip,_decant)", "tap"]
NOUNS = ["flask_(bottle)", "reed", "gear_(cog)"]
ADDED = {"verbs": ["nudge"], "nouns": ["husk", "pane_(sheet)"]}
"""What version 2's taxonomy has after version 1's names."""


@dataclass
class EgoTree:
    """Annotation files and features that `write` will write.

    Attributes:
        version: "v1" or "v2": its folder, its taxonomy and the fields of its rows.
        files: name below `annotations/` -> content; None is not written.
        tracks: video -> features; a video without any has no file.
    """

    version: str = "v1"
    files: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, FeatureTrack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = random.Random(0)
        more = ADDED if self.version == "v2" else {"verbs": [], "nouns": []}
        taxonomy = {"verbs": VERBS + more["verbs"], "nouns": NOUNS + more["nouns"]}
        self.files["fho_lta_taxonomy.json"] = taxonomy
        for split, videos in VIDEOS.items():
            actions = [row for video in videos for row in _actions(video, taxonomy, rng)]
            changes = [row for video in videos for row in _changes(video, rng)]
            if self.version == "v2" and split != "test_unannotated":
                actions = [_without(row, "clip_id") for row in actions]
            if split == "test_unannotated":
                actions = [
                    _without(row, "verb", "noun", "verb_label", "noun_label") for row in actions
                ]
                changes = [
                    {k: v for k, v in row.items() if k.startswith(("unique", "video", "parent_s"))
                     or k in ("clip_id", "parent_end_frame", "parent_end_sec")}
                    for row in changes
                ]  # fmt: skip
            self.files[f"fho_lta_{split}.json"] = {"split": split, "clips": actions}
            self.files[f"fho_oscc-pnr_{split}.json"] = {"split": split, "clips": changes}
            for seed, video in enumerate(videos):
                self.tracks[video] = make_track(FRAMES, seed=seed, video_id=video)

    def actions(self, split: str = "train") -> list[Row]:
        """The rows of a split's LTA file, to be changed in place."""
        rows: list[Row] = self.files[f"fho_lta_{split}.json"]["clips"]
        return rows

    def changes(self, split: str = "train") -> list[Row]:
        """The rows of a split's OSCC and PNR file, to be changed in place."""
        rows: list[Row] = self.files[f"fho_oscc-pnr_{split}.json"]["clips"]
        return rows

    def positives(self, split: str = "train") -> list[Row]:
        """Those of them with a change of state."""
        return [row for row in self.changes(split) if row["state_change"]]

    def write(self, root: Path) -> Path:
        """Writes everything below a folder; returns it."""
        annotations = root / self.version / "annotations"
        annotations.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            if content is not None:
                (annotations / name).write_text(json.dumps(content))
        for track in self.tracks.values():
            FeatureStore(root / self.version / FEATURES).write_bare(track)
        return root


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _actions(video: str, taxonomy: dict[str, list[str]], rng: random.Random) -> list[Row]:
    """Overlapping windows of 8 s in one clip that begins 1 s into the video."""
    rows = []
    for index in range(ACTIONS):
        verb, noun = (rng.randrange(len(taxonomy[name])) for name in ("verbs", "nouns"))
        start = 80 * index
        rows.append({
            "video_uid": video, "clip_uid": f"{video}-clip", "clip_id": 7, "action_idx": index,
            "clip_parent_start_frame": 30, "clip_parent_start_sec": 1.0,
            "action_clip_start_frame": start, "action_clip_end_frame": start + 240,
            "action_clip_start_sec": start / 30, "action_clip_end_sec": (start + 240) / 30,
            "verb": taxonomy["verbs"][verb], "noun": taxonomy["nouns"][noun],
            "verb_label": verb, "noun_label": noun,
        })  # fmt: skip
    return rows


def _changes(video: str, rng: random.Random) -> list[Row]:
    """Segments of 6 s, every other with a change of state."""
    rows = []
    for index in range(ACTIONS):
        start, positive = 80 * index, index % 2 == 0
        frame = start + rng.randrange(20, 160)
        rows.append({
            "unique_id": f"{video}-{index}", "clip_id": "7", "clip_uid": f"{video}-clip",
            "video_uid": video,
            "parent_start_frame": start, "parent_end_frame": start + 180,
            "parent_start_sec": start / 30, "parent_end_sec": start / 30 + 6,
            "state_change": positive,
            **({"parent_pnr_frame": frame, "clip_pnr_frame": frame} if positive else
               {"pnr_frame": None}),
        })  # fmt: skip
    return rows
