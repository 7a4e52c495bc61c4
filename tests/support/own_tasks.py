"""One task of one's own of each kind: task files, labels files, features they can be told from."""

import csv

import torch

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from tests.support.factories import make_track

KINDS = {
    "hand": 'kind = "segment"\nnodes = 3',
    "mood": 'kind = "graph"\nparts = 3',
    "drop": 'kind = "localise"\nnodes = 8',
    "next-room": 'kind = "forecast"\nobserved = 2\nfuture = 3',
}
LABELS = ("calm, quiet", "wild")
SEGMENTS = [(4.0 * i, 4.0 * i + 6.0) for i in range(9)]
SPLIT_OF = {"a": "train", "b": "train", "c": "val", "d": "test"}


def write_task(folder, name, *, epochs=1):
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n{KINDS[name]}\nepochs = {epochs}\nbatch_size = 4\n')
    return path


def write_labels(folder, name):
    """Labels by a coin; where an instant is told, it lies at a random place."""
    generator = torch.Generator().manual_seed(4)
    path = folder / f"{name}.csv"
    told = "time_s" if name == "drop" else "label"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "start_s", "end_s", told, "split"])
        for video, split in SPLIT_OF.items():
            for start_s, end_s in SEGMENTS:
                u = float(torch.rand(1, generator=generator))
                value = start_s + 5.9 * u if name == "drop" else LABELS[round(u)]
                writer.writerow([video, start_s, end_s, value, split])
    return path


def write_features(folder, encoder):
    store = FeatureStore(folder)
    for seed, video in enumerate(SPLIT_OF):
        made_by = EncoderId(encoder.name, encoder.fingerprint)
        store.write(make_track(1200, seed=seed, video_id=video, encoder=made_by, width=encoder.dim))
    return store
