"""A tiny data set in Ego4D's layout, sound until a test spoils a file of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from extract.windows import count_windows
from model.data.annotations import FEATURES
from weights.bundle import Bundle

FRAMES = 2400
ACTIONS = 26  # of each video: four windows of LTA more than none
SPLITS = {"train": ("t0", "t1"), "val": ("a", "b"), "test_unannotated": ("x", "y")}
VIDEOS = tuple(video for videos in SPLITS.values() for video in videos)
HIDDEN = ("verb_label", "noun_label", "state_change", "parent_pnr_frame", "pnr_frame")


def made_rows(video, seed):
    """Rows of both annotation files about one video; its last segment ends at 2240 of 2400."""
    g = torch.Generator().manual_seed(seed)
    whole = {"video_uid": video, "clip_uid": f"{video}-clip", "clip_parent_start_frame": 0}
    actions, changes = [], []
    for i in range(ACTIONS):
        start = 80 * i
        verb, noun, change = (int(torch.randint(top, (), generator=g)) for top in (5, 4, 2))
        actions.append(
            {**whole, "action_idx": i, "action_clip_start_frame": start,
             "action_clip_end_frame": start + 240, "verb_label": verb, "noun_label": noun}
        )  # fmt: skip
        bounds = {"parent_start_frame": start, "parent_end_frame": start + 180,
                  "parent_start_sec": start / 30, "parent_end_sec": start / 30 + 6}  # fmt: skip
        when = {"parent_pnr_frame": start + 90} if change else {"pnr_frame": None}
        changes.append({"unique_id": f"{video}-{i}", "video_uid": video, **bounds,
                        "state_change": bool(change), **when})  # fmt: skip
    return actions, changes


@dataclass(frozen=True)
class FeatureTree:
    """The folders of a tree.

    Attributes:
        root: what the Ego4D client would have filled.
        width: numbers in a feature.
    """

    root: Path
    width: int

    @property
    def features(self) -> Path:
        return self.root / "v1" / FEATURES

    def file(self, video: str) -> Path:
        """Returns the feature file of a video."""
        return self.features / f"{video}.pt"

    def rows(self, count: int = count_windows(FRAMES), *, seed: int = 0) -> torch.Tensor:
        """Returns features, (count, width)."""
        return torch.randn(count, self.width, generator=torch.Generator().manual_seed(seed))

    def state_facts(self, lengths: Mapping[str, int], **facts: object) -> None:
        """Writes `ego4d.json` into the root, where the client puts it."""
        videos = [
            {"video_uid": uid, "video_metadata": {"fps": 30, "num_frames": frames}, **facts}
            for uid, frames in lengths.items()
        ]
        (self.root / "ego4d.json").write_text(json.dumps({"videos": videos, "clips": []}))


def write_tree(root: Path, bundle: Bundle) -> FeatureTree:
    """Writes annotations, the lengths of all videos and their features as the release has them."""
    tree = FeatureTree(root, bundle.manifest.model["input_size"])
    annotations = root / "v1" / "annotations"
    annotations.mkdir(parents=True)
    names = bundle.manifest.label_spaces
    taxonomy = {"verbs": names["verb"], "nouns": names["noun"]}
    (annotations / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    for split, videos in SPLITS.items():
        rows = [made_rows(video, VIDEOS.index(video)) for video in videos]
        for kind, stem in enumerate(("fho_lta", "fho_oscc-pnr")):
            clips = [row for both in rows for row in both[kind]]
            if split == "test_unannotated":
                clips = [{k: v for k, v in row.items() if k not in HIDDEN} for row in clips]
            (annotations / f"{stem}_{split}.json").write_text(json.dumps({"clips": clips}))
    tree.features.mkdir()
    for seed, video in enumerate(VIDEOS):
        torch.save(tree.rows(seed=seed), tree.file(video))
    tree.state_facts(dict.fromkeys(VIDEOS, FRAMES))
    return tree
