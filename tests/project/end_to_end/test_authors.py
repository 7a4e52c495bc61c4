"""Checkpoints and released feature files in, every metric out: no video and no encoder anywhere."""

import json

import pytest
import torch

from model.evaluate.__main__ import main as evaluate
from tests.support.checkpoints import SMALL, TASKS, make_checkpoint, write_labels
from weights.__main__ import main as weights
from weights.authors.convert import FEATURES

pytestmark = pytest.mark.slow

ACTIONS, WINDOWS = 26, 60


@pytest.fixture
def root(tmp_path):
    """One video of one clip a split, annotated as Ego4D is, with features as it releases them."""
    annotations, features = tmp_path / "v1" / "annotations", tmp_path / "v1" / FEATURES
    annotations.mkdir(parents=True)
    features.mkdir()
    write_labels(annotations)
    for seed, split in enumerate(("train", "val")):
        torch.manual_seed(seed)
        torch.save(torch.randn(WINDOWS, SMALL.d_in), features / f"{split}.pt")
        lta, oscc = [action(split, i) for i in range(ACTIONS)], [change(split, i) for i in range(6)]
        (annotations / f"fho_lta_{split}.json").write_text(json.dumps({"clips": lta}))
        (annotations / f"fho_oscc-pnr_{split}.json").write_text(json.dumps({"clips": oscc}))
    return tmp_path


def action(video, i):
    return {
        "video_uid": video,
        "clip_uid": f"clip of {video}",
        "action_idx": i,
        "clip_parent_start_frame": 0,
        "clip_parent_end_frame": 16 * WINDOWS,
        "clip_parent_start_sec": 0.0,
        "clip_parent_end_sec": 16 * WINDOWS / 30,
        "action_clip_start_frame": 20 * i,
        "action_clip_end_frame": 20 * i + 240,
        "action_clip_start_sec": 20 * i / 30,
        "action_clip_end_sec": (20 * i + 240) / 30,
        "verb_label": i % SMALL.verbs,
        "noun_label": i % SMALL.nouns,
    }


def change(video, i):
    start = 100 * i
    return {
        "unique_id": f"{video}-{i}",
        "video_uid": video,
        "clip_uid": f"clip of {video}",
        "parent_start_frame": start,
        "parent_end_frame": start + 240,
        "parent_start_sec": start / 30,
        "parent_end_sec": (start + 240) / 30,
        "state_change": i % 2 == 0,
        "parent_pnr_frame": start + 90 if i % 2 == 0 else None,
    }


def test_imported_checkpoints_are_scored_on_released_features(root, tmp_path, capsys):
    files = []
    for seed, task in enumerate(TASKS):
        files.append(str(tmp_path / f"{task}.pth"))
        torch.save(make_checkpoint(task, seed=seed), files[-1])
    bundle, out = str(tmp_path / "bundle"), tmp_path / "scores.json"
    labels = str(root / "v1" / "annotations" / "fho_lta_taxonomy.json")
    assert weights(["import-authors", *files, "--taxonomy", labels, "--out", bundle]) == 0
    asked = ["--bundle", bundle, "--data", str(root), "--split", "val"]
    assert evaluate([*asked, "--json", str(out)]) == 0
    found = json.loads(out.read_text())["val"]["model"]
    assert set(found) == set(TASKS)
    assert found["ar"]["samples"] == ACTIONS

    (root / "v1" / FEATURES / "val.pt").unlink()
    capsys.readouterr()
    assert evaluate(asked) == 2
    assert "no feature file of video val" in capsys.readouterr().err
