"""Made-up tables of labelled segments, as values and as files, and features of their videos."""

import csv
import random
from pathlib import Path

from extract.features.ids import as_id
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from model.data.tables.table import Segment, SegmentTable
from tests.support.factories import make_track

OUTPUTS = {
    "verb": ("take", "put", "cut"),
    "noun": ("pan", "tomato"),
    "Which hand?": ("left", "right", "both"),
}
"""Column -> labels. The last one's name cannot be that of a task as it is."""

SEGMENT_S = 2.0
VIDEOS = ("Küche 1", "Day 2/clip", "third", "4th take")


def write_table(
    path: Path, *, rows: int = 24, columns=tuple(OUTPUTS), videos=VIDEOS, segment_s=SEGMENT_S
):
    """Writes a CSV of so many segments a video, one after another; labels from a fixed seed."""
    rng = random.Random(0)
    lines: list[list[object]] = [["video", "start_s", "end_s", *columns]]
    for video in videos:
        for row in range(rows):
            labels = [rng.choice(OUTPUTS[column]) for column in columns]
            lines.append([video, row * segment_s, (row + 1) * segment_s, *labels])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def write_tracks(folder: Path, *, encoder=None, rows: int = 24, width: int = 6, videos=VIDEOS):
    """Writes random features of the table's videos, as `python -m extract` names their files."""
    made_by = EncoderId(encoder.name, encoder.fingerprint) if encoder else None
    store = FeatureStore(folder)
    for seed, video in enumerate(videos):
        frames = int(rows * SEGMENT_S * 30)
        width = encoder.dim if encoder else width
        store.write(
            make_track(frames, seed=seed, video_id=as_id(video), encoder=made_by, width=width)
        )
    return folder


def table_of(*rows, outputs=("verb",), **facts):
    """Rows are (video, start, end, label of each output)."""
    segments = [
        Segment(video, start, end, tuple(labels), "labels.csv", line)
        for line, (video, start, end, *labels) in enumerate(rows, 2)
    ]
    return SegmentTable.from_segments("labels.csv", outputs, segments, **facts)
