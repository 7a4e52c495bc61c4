"""A made-up data set in EPIC-KITCHENS-100's published layout."""

import csv
import random
from pathlib import Path

VERBS = ["take", "put", "wash", "turn-on"]
NOUNS = ["tap", "spoon", "pan"]
COLUMNS = [
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp"),
    *("stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun"),
    *("noun_class", "all_nouns", "all_noun_classes"),
]
VIDEOS = {"train": ["P01_01", "P01_102", "P04_03"], "validation": ["P01_11", "P30_107"]}


def write_annotations(root: Path, *, actions: int = 12, seed: int = 0) -> None:
    """Writes the four CSV files, with so many actions of 1 to 3 s a video."""
    rng = random.Random(seed)
    for split, videos in VIDEOS.items():
        rows = [_action(rng, video, n) for video in videos for n in range(actions)]
        rng.shuffle(rows)
        _write(root / f"EPIC_100_{split}.csv", COLUMNS, rows)
    for output, names in {"verb": VERBS, "noun": NOUNS}.items():
        classes = [[i, name, str([name]), "any"] for i, name in enumerate(names)]
        _write(
            root / f"EPIC_100_{output}_classes.csv", ["id", "key", "instances", "category"], classes
        )


def video_path(root: Path, video: str) -> Path:
    """Returns where the downloader puts a video."""
    return root / "EPIC-KITCHENS" / video[:3] / "videos" / f"{video}.MP4"


def _action(rng: random.Random, video: str, number: int) -> list[object]:
    verb, noun = rng.randrange(len(VERBS)), rng.randrange(len(NOUNS))
    start_s = number * 4 + rng.random()
    stop_s = start_s + 1 + 2 * rng.random()
    said = f"{VERBS[verb]}-up", NOUNS[noun]  # as narrated, not as the class is called
    return [
        *(f"{video}_{number}", video[:3], video, "", _clock(start_s), _clock(stop_s)),
        *(int(start_s * 50), int(stop_s * 50), " ".join(said), said[0], verb, said[1], noun),
        *(str([said[1]]), str([noun])),
    ]


def _clock(time_s: float) -> str:
    return f"00:{int(time_s) // 60:02}:{time_s % 60:05.2f}"


def _write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
