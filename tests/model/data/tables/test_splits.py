"""Videos are split whole, in their shares, with labels in train before they are in val."""

from collections import Counter

import pytest

from model.data.tables.splits import split_by_video
from model.errors import AnnotationInvalid
from tests.model.support.tables import table_of

MANY = [(f"v{n:02}", t, t + 1, f"label {(n + t) % 5}") for n in range(20) for t in range(3)]


def test_shares_are_of_whole_videos_and_the_draw_moves_with_the_seed():
    found = split_by_video(table_of(*MANY), seed=0)
    assert Counter(found.split.values()) == {"train": 16, "val": 4}
    assert found.split == split_by_video(table_of(*reversed(MANY)), seed=0).split
    assert any(split_by_video(table_of(*MANY), seed=s).split != found.split for s in range(1, 4))
    three = split_by_video(
        table_of(*MANY), seed=0, shares={"train": 0.7, "val": 0.15, "test": 0.15}
    )
    assert Counter(three.split.values()) == {"train": 14, "val": 3, "test": 3}


def test_labels_of_one_video_are_learnt_and_common_ones_are_in_both():
    rows = [*MANY, *((f"v{n:02}", 5, 6, f"once {n}") for n in range(0, 20, 2))]
    for seed in range(5):
        found = split_by_video(table_of(*rows), seed=seed)
        names = {
            part: {found.labels["verb"][row] for row in found.rows_in(part)}
            for part in ("train", "val")
        }
        assert names["val"] <= names["train"]
        assert names["val"] == {f"label {n}" for n in range(5)}


def test_splits_of_the_data_set_stay():
    own = {name: "val" if name < "v05" else "train" for name, *_ in MANY}
    assert split_by_video(table_of(*MANY, split=own), seed=0).split == own


def test_train_and_val_have_a_video_each():
    with pytest.raises(AnnotationInvalid, match="no video is for val"):
        split_by_video(table_of(*MANY, split=dict.fromkeys({n for n, *_ in MANY}, "train")), seed=0)
    with pytest.raises(AnnotationInvalid, match=r"1 video\(s\) cannot be split into train, val"):
        split_by_video(table_of(("a", 1, 2, "cut")), seed=0)
    two = split_by_video(table_of(("a", 1, 2, "cut"), ("b", 1, 2, "cut")), seed=0)
    assert sorted(two.split.values()) == ["train", "val"]


def test_videos_without_labels_are_split_too():
    rows = [*MANY, *((f"w{n}", 1, 2, None) for n in range(10))]
    found = split_by_video(table_of(*rows), seed=0)
    assert Counter(found.split.values()) == {"train": 24, "val": 6}
