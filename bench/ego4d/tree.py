"""Synthetic data set with the layout, fields and counts of Ego4D v1, and random features.

It shows the cost of Ego4D's size without its licence; nothing can be learnt from it.
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from extract.windows import cut_windows
from model.data.annotations import FEATURES, DataRoot
from model.data.row_checks import FPS

Entry = dict[str, Any]

SPLITS = ("train", "val", "test_unannotated")
INTERVAL, PAD, ACTION = 300 * FPS, 8 * FPS, 8 * FPS
"""Frames of an annotated interval, of what a clip adds on each side, and of an action's window."""

SHORTEST = 5 * FPS
HIDDEN_ACTION = ("verb", "noun", "verb_label", "noun_label")
SHOWN_CHANGE = ("unique_id", "clip_id", "video_uid", "parent_start_sec", "parent_end_sec",
                "parent_start_frame", "parent_end_frame")  # fmt: skip
DONE = "tree.json"


@dataclass(frozen=True)
class TreeSize:
    """How much of everything; counts of three are train, val and test. Defaults are v1's.

    Attributes:
        videos: full videos.
        clips: annotated clips of 5 minutes, one or two a video.
        actions: LTA segments (train is known, the others are about a third of it).
        changes: OSCC segments.
        positives: those with a change of state.
        width: D_in.
    """

    videos: int = 1_074
    clips: int = 1_672
    actions: tuple[int, int, int] = (23_600, 7_900, 7_900)
    changes: tuple[int, int, int] = (41_085, 28_348, 28_400)
    positives: tuple[int, int, int] = (20_041, 13_628, 13_700)
    verbs: int = 115
    nouns: int = 478
    width: int = 1536

    def scaled(self, scale: float) -> "TreeSize":
        """Returns a share of videos, clips and segments; label spaces and width stay."""

        def three(counts: tuple[int, int, int]) -> tuple[int, int, int]:
            train, val, test = (max(1, round(scale * count)) for count in counts)
            return train, val, test

        videos = max(3, round(scale * self.videos))
        return replace(
            self,
            videos=videos,
            clips=min(2 * videos, max(5, round(scale * self.clips))),
            actions=three(self.actions),
            changes=three(self.changes),
            positives=three(self.positives),
        )


@dataclass(frozen=True)
class Clip:
    """One annotated clip: where it lies in which video, and in which split."""

    number: int
    video: int
    start: int
    split: int

    @property
    def uid(self) -> str:
        """Its generated id."""
        return _uid(0xC, self.number)

    @property
    def video_uid(self) -> str:
        """Its video's generated id."""
        return _uid(0xA, self.video)


def write_tree(
    root: Path,
    size: TreeSize,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DataRoot:
    """Writes annotations, metadata and features below `root`/v1, unless they are there already.

    `progress` is called with (videos done, videos in all).
    """
    data, done = DataRoot(root), root / DONE
    facts = json.dumps({**asdict(size), "seed": seed}, sort_keys=True)
    if done.is_file() and done.read_text() == facts:
        return data
    done.unlink(missing_ok=True)
    data.annotations.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    clips = _lay_out(size, rng)
    for number, split in enumerate(SPLITS):
        mine = [clip for clip in clips if clip.split == number]
        _write(data.annotations / f"fho_lta_{split}.json", _actions(mine, number, size, rng), split)
        changes = _changes(mine, number, size, rng)
        _write(data.annotations / f"fho_oscc-pnr_{split}.json", changes, split)
    taxonomy = {
        "verbs": [f"verb{i:03d}_(made_up)" for i in range(size.verbs)],
        "nouns": [f"noun{i:03d}_(made_up)" for i in range(size.nouns)],
    }
    (data.annotations / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    lengths = _lengths(clips)
    _write_metadata(root / "v1" / "ego4d.json", lengths)
    _write_features(data.features(FEATURES), lengths, size.width, seed, progress)
    done.write_text(facts)
    return data


def _lay_out(size: TreeSize, rng: Generator) -> list[Clip]:
    """Gives the first videos two clips each and every clip a split of its own, as Ego4D does."""
    twice = size.clips - size.videos
    places = [(v, 0) for v in range(size.videos)] + [(v, 1) for v in range(twice)]
    splits = np.repeat(range(3), _shares(size.clips, np.array(size.actions, float)))
    return [
        Clip(i, video, second * INTERVAL, int(split))
        for i, ((video, second), split) in enumerate(
            zip(sorted(places), rng.permutation(splits), strict=True)
        )
    ]


def _actions(clips: Sequence[Clip], split: int, size: TreeSize, rng: Generator) -> list[Entry]:
    counts = _shares(size.actions[split], rng.uniform(0.3, 1.7, len(clips)))
    return [
        entry
        for clip, count in zip(clips, counts, strict=True)
        for entry in _clip_actions(clip, count, size, rng)
    ]


def _clip_actions(clip: Clip, count: int, size: TreeSize, rng: Generator) -> list[Entry]:
    keys = np.sort(rng.integers(0, INTERVAL, count)) + PAD
    starts = np.clip(keys - rng.integers(60, 180, count), 0, INTERVAL + 2 * PAD - ACTION)
    labels = zip(
        rng.integers(size.verbs, size=count).tolist(),
        rng.integers(size.nouns, size=count).tolist(),
        strict=True,
    )
    return [
        {
            "video_uid": clip.video_uid, "clip_uid": clip.uid, "clip_id": clip.number,
            "action_idx": index,
            **_span("clip_parent", clip.start, clip.start + INTERVAL + 2 * PAD),
            **_span("interval", clip.start + PAD, clip.start + PAD + INTERVAL),
            **_span("action_clip", start, start + ACTION),
            "verb": f"verb{verb:03d}_(made_up)", "noun": f"noun{noun:03d}_(made_up)",
            "verb_label": verb, "noun_label": noun,
        }
        for index, (start, (verb, noun)) in enumerate(zip(starts.tolist(), labels, strict=True))
    ]  # fmt: skip


def _changes(clips: Sequence[Clip], split: int, size: TreeSize, rng: Generator) -> list[Entry]:
    total, positives = size.changes[split], min(size.positives[split], size.changes[split])
    whose = rng.integers(len(clips), size=total)
    lengths = np.full(total, ACTION) if split == 0 else rng.integers(SHORTEST, ACTION + 1, total)
    starts = rng.integers(0, INTERVAL + 2 * PAD - ACTION, total)
    entries = [
        _change(clips[clip], start, length, number, number < positives, rng)
        for number, (clip, start, length) in enumerate(
            zip(whose.tolist(), starts.tolist(), lengths.tolist(), strict=True)
        )
    ]
    return [entries[place] for place in rng.permutation(total)]


def _change(
    clip: Clip, start: int, length: int, number: int, is_positive: bool, rng: Generator
) -> Entry:
    first = clip.start + start
    entry = {
        "unique_id": f"{_uid(0xE + clip.split, number)}-{first}_0",
        "clip_id": str(clip.number), "clip_uid": clip.uid, "video_uid": clip.video_uid,
        **_span("parent", first, first + length),
        **_span("clip", start, start + length),
        "state_change": is_positive,
    }  # fmt: skip
    if is_positive:
        keyframe = int(rng.integers(length))
        return {**entry, "parent_pnr_frame": first + keyframe, "clip_pnr_frame": start + keyframe}
    if number % 2:  # some negatives belong to no clip; their two spans are the same
        entry |= {"clip_uid": None, **_span("clip", first, first + length)}
    return {**entry, "pnr_frame": None}


def _lengths(clips: Sequence[Clip]) -> dict[str, int]:
    """Video -> frames: up to the end of its last clip."""
    ends: dict[str, int] = {}
    for clip in clips:
        end = clip.start + INTERVAL + 2 * PAD
        ends[clip.video_uid] = max(end, ends.get(clip.video_uid, 0))
    return ends


def _write(path: Path, entries: list[Entry], split: str) -> None:
    if split == "test_unannotated":
        hides = path.name.startswith("fho_lta")
        entries = [
            {k: v for k, v in e.items() if (k not in HIDDEN_ACTION if hides else k in SHOWN_CHANGE)}
            for e in entries
        ]
    head = {"version": "1", "date": "made up", "description": "made up", "split": split}
    path.write_text(json.dumps({**head, "clips": entries}))


def _write_metadata(path: Path, lengths: dict[str, int]) -> None:
    videos = [
        {"video_uid": uid, "video_metadata": {"fps": FPS, "num_frames": frames}}
        for uid, frames in lengths.items()
    ]
    path.write_text(json.dumps({"videos": videos, "clips": []}))


def _write_features(
    folder: Path,
    lengths: dict[str, int],
    width: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for done, (uid, frames) in enumerate(lengths.items(), 1):
        rows = torch.randn(len(cut_windows(frames)), width, generator=generator).half()
        torch.save(rows, folder / f"{uid}.pt")
        if progress:
            progress(done, len(lengths))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_uid", "type", "s3_path", "benchmarks"])
        writer.writerows([uid, FEATURES, "", "[fho]"] for uid in lengths)


def _shares(total: int, weights: NDArray[np.float64]) -> list[int]:
    """Cuts a total into whole shares that add up to it."""
    edges = [0, *np.round(np.cumsum(weights) / weights.sum() * total).astype(int).tolist()]
    return [after - before for before, after in pairwise(edges)]


def _span(name: str, start: int, end: int) -> Entry:
    return {
        f"{name}_start_sec": start / FPS, f"{name}_end_sec": end / FPS,
        f"{name}_start_frame": start, f"{name}_end_frame": end,
    }  # fmt: skip


def _uid(kind: int, number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{kind:012x}"
