"""The same made-up segments in the layout of every kind of data set."""

import csv
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.model.support import epic_kitchens as epic

VERBS = ("take", "put", "cut")
NOUNS = ("pan", "tomato")
FPS = 25.0
SEGMENT_S = 2.0
ROWS = 24
SPLIT = {"P01_01": "train", "P01_02": "train", "P02_03": "val", "P02_04": "train"}


class Segment(NamedTuple):
    """One made-up action; its times are whole frames of `FPS`."""

    video: str
    number: int
    verb: int
    noun: int

    @property
    def start_s(self) -> float:
        return self.number * SEGMENT_S

    @property
    def end_s(self) -> float:
        return self.start_s + SEGMENT_S - 0.08

    @property
    def names(self) -> tuple[str, str]:
        return VERBS[self.verb], NOUNS[self.noun]


_RNG = random.Random(0)
SEGMENTS = [
    Segment(video, number, _RNG.randrange(len(VERBS)), _RNG.randrange(len(NOUNS)))
    for video in SPLIT
    for number in range(ROWS)
]


def of_split(split: str) -> list[Segment]:
    return [s for s in SEGMENTS if SPLIT[s.video] == split]


def write_table(root: Path) -> Path:
    rows = [(s.video, s.start_s, s.end_s, *s.names, SPLIT[s.video]) for s in SEGMENTS]
    return _csv(root / "labels.csv", ["video", "start_s", "end_s", "verb", "noun", "split"], rows)


def write_epic_kitchens(root: Path) -> Path:
    for split, file in {"train": "train", "val": "validation"}.items():
        rows = [
            [f"{s.video}_{s.number}", "P", s.video, "", _clock(s.start_s), _clock(s.end_s), 0, 1,
             "", "", s.verb, "", s.noun, "", ""]
            for s in of_split(split)
        ]  # fmt: skip
        _csv(root / f"EPIC_100_{file}.csv", epic.COLUMNS, rows)
    for output, names in {"verb": VERBS, "noun": NOUNS}.items():
        classes = [(i, name) for i, name in enumerate(names)]
        _csv(root / f"EPIC_100_{output}_classes.csv", ["id", "key"], classes)
    return root


def write_egoexolearn(root: Path) -> Path:
    for output, names in {"verb": VERBS, "noun": NOUNS}.items():
        (root / f"valid_{output}s.txt").write_text("\n".join(map(str, range(len(names)))))
        taxonomy = [(name, "any") for name in names]
        _csv(root / f"narration_{output}_taxonomy.csv", ["label", "group"], taxonomy)
    header = ["video_id", "annotation_id", "start_sec", "end_sec", "verb", "noun", "scenario"]
    for split in ("train", "val"):
        rows = [
            (s.video, s.number, s.start_s, s.end_s, [s.verb], [s.noun], "lab")
            for s in of_split(split)
        ]
        _csv(root / f"ego_{split}.csv", header, rows)
    return root


def write_goalstep(root: Path) -> Path:
    """Steps are called as verbs and substeps as nouns; videos of one goal begin alike."""
    for split, file in {"train": "train", "val": "valid"}.items():
        videos = [
            {
                "video_uid": video,
                "goal_category": f"COOKING:{('BREAD', 'TEA')[number % 2]}",
                "segments": [_step(s) for s in SEGMENTS if s.video == video],
            }
            for number, video in enumerate(SPLIT)
            if SPLIT[video] == split
        ]
        (root / f"goalstep_{file}.json").write_text(json.dumps({"videos": videos}))
    return root


def _step(segment: Segment) -> dict:
    times = {"start_time": segment.start_s, "end_time": segment.end_s}
    verb, noun = segment.names
    return {**times, "step_category": verb, "segments": [{**times, "step_category": noun}]}


def write_captaincook4d(root: Path) -> Path:
    """Steps are called as verbs; there is an error where the noun is the second."""
    header = ["recording_id", "step_id", "start_time", "end_time", "description", "has_errors"]
    rows = [(s.video, s.verb, s.start_s, s.end_s, "", str(s.noun == 1)) for s in SEGMENTS]
    _csv(root / "step_annotations.csv", header, rows)
    names = [(i, name) for i, name in enumerate(VERBS)]
    _csv(root / "step_idx_description.csv", ["step_idx", "step_description"], names)
    split = {part: [v for v in SPLIT if SPLIT[v] == part] for part in ("train", "val", "test")}
    (root / "recordings_data_split_combined.json").write_text(json.dumps(split))
    lengths = [(video, 1, ROWS * SEGMENT_S) for video in SPLIT]
    header = ["recording_id", "duration(min)", "duration(sec)"]
    _csv(root / "video_information.csv", header, lengths)
    return root


def write_egtea(root: Path) -> Path:
    actions = [f"{verb} {noun}" for verb in VERBS for noun in NOUNS]
    for output, names in {"action": actions, "verb": VERBS, "noun": NOUNS}.items():
        lines = [f"{name} {i}" for i, name in enumerate(names, 1)]
        (root / f"{output}_idx.txt").write_text("\n".join(lines))
    for split, file in {"train": "train", "val": "test"}.items():
        lines = [
            f"{s.video}-{1000 * s.start_s:.0f}-{1000 * s.end_s:.0f}-F000000-F000001 "
            f"{s.verb * len(NOUNS) + s.noun + 1} {s.verb + 1} {s.noun + 1}"
            for s in of_split(split)
        ]
        (root / f"{file}_split1.txt").write_text("\n".join(lines))
    return root


def write_label_studio(root: Path) -> Path:
    tasks = [
        {
            "id": number,
            "data": {"video": f"/data/upload/3/0badcafe-{video}.MP4"},
            "annotations": [
                {"result": [i for s in SEGMENTS if s.video == video for i in _region(s)]}
            ],
        }
        for number, video in enumerate(SPLIT)
    ]
    (root / "export.json").write_text(json.dumps(tasks))
    return root / "export.json"


def _region(segment: Segment) -> list[dict]:
    first, last = round(segment.start_s * FPS) + 1, round(segment.end_s * FPS)
    return [
        {
            "id": f"r{segment.number}",
            "type": kind,
            "from_name": output,
            "to_name": "video",
            "value": {"ranges": [{"start": first, "end": last}], kind: [name]},
        }
        for kind, output, name in zip(
            ("timelinelabels", "choices"), ("verb", "noun"), segment.names, strict=True
        )
    ]


def write_cvat(root: Path) -> Path:
    """An export for each video: verbs are labels of tracks, nouns an attribute."""
    for video in SPLIT:
        tracks = "".join(_track(s) for s in SEGMENTS if s.video == video)
        meta = f"<meta><task><source>{video}.MP4</source></task></meta>"
        (root / f"{video}.xml").write_text(f"<annotations>{meta}{tracks}</annotations>")
    return root


def _track(segment: Segment) -> str:
    verb, noun = segment.names
    first, end = round(segment.start_s * FPS), round(segment.end_s * FPS)
    attribute = f'<attribute name="noun">{noun}</attribute>'
    return (
        f'<track id="{segment.number}" label="{verb}"><box frame="{first}" outside="0">{attribute}'
        f'</box><box frame="{end}" outside="1">{attribute}</box></track>'
    )


WRITERS = {
    "table": write_table,
    "epic-kitchens": write_epic_kitchens,
    "egoexolearn": write_egoexolearn,
    "goalstep": write_goalstep,
    "captaincook4d": write_captaincook4d,
    "egtea": write_egtea,
    "label-studio": write_label_studio,
    "cvat": write_cvat,
}
"""Kind -> writes its files to a folder, returns what to name as ROOT."""


def _clock(time_s: float) -> str:
    return f"00:{int(time_s) // 60:02}:{time_s % 60:05.2f}"


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path
