import json
from dataclasses import replace

import pytest
import torch

from bench.__main__ import main
from bench.ego4d.tree import TreeSize, write_tree
from extract.features.store import FeatureStore
from extract.windows import cut_windows
from model.data.annotations import FEATURES, DataRoot

SMALL = replace(TreeSize().scaled(0.01), width=4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), SMALL)


@pytest.mark.slow
def test_the_tree_at_full_size_has_the_counts_of_v1(tmp_path):
    data = write_tree(tmp_path, replace(TreeSize(), width=1))
    actions = {s: data.actions(s) for s in ("train", "val", "test_unannotated")}
    changes = {s: data.changes(s) for s in ("train", "val", "test_unannotated")}
    assert [len(records) for records in actions.values()] == [23_600, 7_900, 7_900]
    assert [len(records) for records in changes.values()] == [41_085, 28_348, 28_400]
    for split, positives in (("train", 20_041), ("val", 13_628)):
        assert sum(bool(r.state_change) for r in changes[split]) == positives
        assert sum(r.pnr_frame is not None for r in changes[split]) == positives
    assert {k: len(v) for k, v in data.taxonomy.items()} == {"verb": 115, "noun": 478}
    everything = [r for of in (actions, changes) for records in of.values() for r in records]
    assert len({r.video_uid for r in everything}) == 1_074
    assert len({r.clip_uid for records in actions.values() for r in records}) == 1_672


def test_the_tree_has_what_loaders_get_wrong(tree):
    rows = {
        split: json.loads((tree.annotations / f"fho_oscc-pnr_{split}.json").read_text())["clips"]
        for split in ("train", "val", "test_unannotated")
    }
    assert any(row["clip_uid"] is None for row in rows["train"])
    assert all("parent_pnr_frame" not in r for r in rows["train"] if not r["state_change"])
    lengths = {
        split: {r["parent_end_frame"] - r["parent_start_frame"] for r in of}
        for split, of in rows.items()
    }
    assert lengths["train"] == {240}
    assert min(lengths["val"]) < 200 < max(lengths["val"]) <= 240
    assert {len(row) for row in rows["test_unannotated"]} == {7}
    split_of = {a.clip_uid: s for s in ("train", "val") for a in tree.actions(s)}
    starts = json.loads((tree.annotations / "fho_lta_train.json").read_text())["clips"]
    assert any(row["clip_parent_start_frame"] for row in starts)  # times relative to a clip
    assert set(split_of.values()) == {"train", "val"}


def test_features_cover_what_is_annotated(tree):
    store, lengths = FeatureStore(tree.features(FEATURES)), tree.num_frames
    assert len(lengths) == SMALL.videos == len(store.video_ids())
    for video, frames in lengths.items():
        stored = store.read_rows(video)
        assert stored.features.shape == (len(cut_windows(frames)), 4)
        assert stored.features.dtype == torch.float16
    for split in ("train", "val", "test_unannotated"):
        for record in [*tree.actions(split), *tree.changes(split)]:
            assert 0 <= record.start_frame < record.end_frame <= lengths[record.video_uid]


def test_a_tree_is_written_once_and_again_for_another_size(tmp_path):
    size = replace(SMALL, width=2)
    first = write_tree(tmp_path, size).annotations / "fho_lta_train.json"
    written = first.stat().st_mtime_ns
    assert write_tree(tmp_path, size) == DataRoot(tmp_path)
    assert first.stat().st_mtime_ns == written
    write_tree(tmp_path, replace(size, verbs=3))
    assert first.stat().st_mtime_ns != written


@pytest.mark.slow
def test_the_benchmark_runs_from_files_to_scores(tmp_path, capsys):
    out = tmp_path / "figures.json"
    flags = ["--scale", "0.01", "--hidden-size", "8", "--work", str(tmp_path), "--out", str(out)]
    assert main(["ego4d-size", *flags]) == 0
    figures = json.loads(out.read_text())["figures"]
    names = [step["name"] for step in figures["steps"]]
    assert names.index("pack features") < names.index("train an epoch") < len(names)
    assert all(step["seconds"] >= 0 and step["anonymous_mb"] > 0 for step in figures["steps"])
    assert set(figures["metrics"]) == {"ar", "lta", "oscc", "pnr"}
    assert "train an epoch" in capsys.readouterr().out
