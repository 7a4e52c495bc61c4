"""Rows of annotation files as Ego4D has them, and a root to write them to."""

import json

from model.data.annotations import DataRoot

ACTION = {
    "video_uid": "v", "clip_uid": "c", "clip_id": 7, "action_idx": 0,
    "clip_parent_start_sec": 100 / 30, "clip_parent_start_frame": 100,
    "action_clip_start_sec": 1.0, "action_clip_start_frame": 30,
    "action_clip_end_sec": 9.0, "action_clip_end_frame": 270,
    "verb": "b", "noun": "f", "verb_label": 1, "noun_label": 2,
}  # fmt: skip
POSITIVE = {
    "unique_id": "1-100_5-108_5", "clip_id": "12", "clip_uid": "c", "video_uid": "v",
    "parent_start_sec": 10.0, "parent_end_sec": 16.0,
    "parent_start_frame": 300, "parent_end_frame": 480,
    "clip_start_frame": 200, "clip_end_frame": 380,
    "state_change": True, "parent_pnr_frame": 390, "clip_pnr_frame": 290,
}  # fmt: skip
NEGATIVE = {
    "unique_id": "any form/at all", "clip_id": "12", "clip_uid": None, "video_uid": "v",
    "parent_start_sec": 20.0, "parent_end_sec": 27.5,
    "parent_start_frame": 600, "parent_end_frame": 825,
    "state_change": False, "pnr_frame": None,
}  # fmt: skip
TAXONOMY = {"verbs": ["a", "b", "c_(x,_y)"], "nouns": ["d", "e", "f", "g"]}
LTA, OSCC = "fho_lta_train.json", "fho_oscc-pnr_train.json"


def write(root, name, value, version="v1"):
    folder = root / version / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    (folder / "fho_lta_taxonomy.json").write_text(json.dumps(TAXONOMY))
    return DataRoot(root, version)


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}
