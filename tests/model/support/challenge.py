"""A small data set in Ego4D's layout: test split, features, a bundle with random weights."""

import json
import random
from pathlib import Path

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from model.score.__main__ import main, read_layout
from model.score.submission import ChallengeFile
from model.score.test_set import open_annotations
from tests.support.factories import NUM_LABELS, make_bundle, make_track
from weights.bundle import save_bundle

ACTIONS = {"clip-a": ("v0", 31), "clip-b": ("v1", 28), "clip-c": ("v1", 27)}  # 27 are too few
CHANGES_PER_VIDEO = 12
VIDEO_FRAMES = 6000
TASKS = ("lta", "oscc", "pnr")


def action_rows(rng: random.Random) -> list[dict]:
    rows = []
    for clip, (video, count) in ACTIONS.items():
        parent = rng.randrange(100, 300)
        for index in range(count):
            start = 150 * index + rng.randrange(60)
            rows.append({
                "video_uid": video, "clip_uid": clip, "action_idx": index,
                "clip_parent_start_frame": parent, "clip_parent_end_frame": parent + 5400,
                "action_clip_start_frame": start, "action_clip_end_frame": start + 240,
                "verb_label": rng.randrange(NUM_LABELS["verb"]),
                "noun_label": rng.randrange(NUM_LABELS["noun"]),
            })  # fmt: skip
    rng.shuffle(rows)  # files promise no order
    return rows


def change_rows(rng: random.Random) -> list[dict]:
    rows = []
    for place in range(2 * CHANGES_PER_VIDEO):
        start, length = rng.randrange(5000), rng.randrange(150, 241)
        changes = rng.random() < 0.6
        pnr = (
            {"parent_pnr_frame": start + rng.randrange(length)} if changes else {"pnr_frame": None}
        )
        rows.append({
            "unique_id": f"change-{place}", "video_uid": f"v{place % 2}",
            "parent_start_frame": start, "parent_end_frame": start + length,
            "parent_start_sec": start / 30, "parent_end_sec": (start + length) / 30,
            "state_change": changes, **pnr,
        })  # fmt: skip
    return rows


def write_clips(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1", "clips": rows}))


def make_challenge(root: Path) -> Path:
    """Writes annotations, hidden truth, features and a bundle below a folder; returns it."""
    rng = random.Random(0)
    hidden = {"verb_label", "noun_label", "state_change", "parent_pnr_frame", "pnr_frame"}
    for stem, rows in (("fho_lta", action_rows(rng)), ("fho_oscc-pnr", change_rows(rng))):
        write_clips(root / "hidden" / f"{stem}_test.json", rows)
        shown = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
        write_clips(root / "v1/annotations" / f"{stem}_test_unannotated.json", shown)
    bundle = save_bundle(make_bundle(), root / "bundle")
    names = bundle.manifest.label_spaces
    taxonomy = {"verbs": names["verb"], "nouns": names["noun"]}
    (root / "v1/annotations/fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    encoder = EncoderId("tiny", bundle.manifest.encoder["fingerprint"])
    for seed in range(2):
        track = make_track(VIDEO_FRAMES, seed=seed, video_id=f"v{seed}", encoder=encoder)
        FeatureStore(root / "features").write(track)
    return root


def options(root: Path, out: Path, *more: str) -> list[str]:
    return [
        "--annotations", str(root), "--bundle", str(root / "bundle"),
        "--features", str(root / "features"), "--out", str(out), "--device", "cpu", *more,
    ]  # fmt: skip


def score(root: Path, out: Path, *more: str) -> int:
    return main(options(root, out, *more))


def read_files(out: Path) -> dict[str, bytes]:
    return {task: (out / f"{task}.json").read_bytes() for task in TASKS}


def layouts(root: Path) -> dict[str, ChallengeFile]:
    data = open_annotations(root, "v1")
    return {task: read_layout(data, task) for task in TASKS}
