"""Labels and features of a task that is taught, on the tiny bundle of `folder`."""

import csv
import json

from extract.features.store import FeatureStore
from tests.support.own_tasks import KINDS, write_labels

NODES = {"hand": ("segment", {"nodes": 3}), "mood": ("graph", {"parts": 3})}
"""The tasks of `KINDS` as values."""


def task_values(name):
    kind, own = NODES[name]
    assert all(f"{key} = {value}" in KINDS[name] for key, value in own.items())
    return {"name": name, "kind": kind, **own}


def label_values(folder, name, *, splits=("train",)):
    """Returns labels as JSON values, without a split where all are for training."""
    with write_labels(folder, name).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in splits]
    for row in rows:
        row["start_s"], row["end_s"] = float(row["start_s"]), float(row["end_s"])
        if len(splits) == 1:
            del row["split"]
    return rows


def clips(folder):
    store = FeatureStore(folder / "features")
    return {video: store.read(video) for video in store.video_ids()}


def write_request(place, folder, **values):
    place.mkdir(exist_ok=True)
    paths = {v: str(folder / "features" / f"{v}.safetensors") for v in "abcd"}
    request = {"bundle": str(folder / "bundle"), "clips": paths, **values}
    (place / "request.json").write_text(json.dumps(request))
    return place
