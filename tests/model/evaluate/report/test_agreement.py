import numpy as np
import pytest
import torch

from model.evaluate.report.agreement import (
    agreement,
    agreement_rows,
    grouped,
    retrieved,
    retrieved_rows,
)
from tests.support.factories import make_backpack


def test_agreement_is_the_share_of_equal_decisions():
    g = torch.Generator().manual_seed(0)
    votes = {who: torch.randint(3, (40, 2), generator=g) for who in ("own", "lta", "fused")}
    shares = agreement(votes)
    for i, a in enumerate(votes.values()):
        for j, b in enumerate(votes.values()):
            same = [x == y for x, y in zip(a.flatten(), b.flatten(), strict=True)]
            assert shares[i, j] == pytest.approx(sum(same) / 80)
    assert (shares.diagonal() == 1).all()
    rows = agreement_rows("ar", "verb", list(votes), shares)
    assert [(r["vote"], r["other"]) for r in rows] == [
        ("own", "lta"), ("own", "fused"), ("lta", "fused")
    ]  # fmt: skip
    assert rows[2]["agreement"] == shares[1, 2]


def test_retrieved_counts_every_neighbour_of_every_node():
    g = torch.Generator().manual_seed(1)
    rows, labels = torch.randint(7, (25, 4, 3), generator=g), torch.randint(5, (25,), generator=g)
    naive = np.zeros((5, 7), dtype=int)
    for sample, label in zip(rows, labels, strict=True):
        for row in sample.flatten():
            naive[label, row] += 1
    counts = retrieved(rows, labels, 5, 7)
    np.testing.assert_array_equal(counts, naive)
    group = torch.tensor([0, 1, 0, 2, 2, 0, 1])
    small = grouped(counts, group, 4)
    assert small.sum() == 25 * 4 * 3
    for verb in range(4):
        np.testing.assert_array_equal(small[:, verb], naive[:, (group == verb).numpy()].sum(axis=1))


def test_the_most_retrieved_prototypes_are_named_for_every_class():
    backpack = make_backpack(["lta"])  # rows 0..6: verb = row % 5, noun = row % 4
    names = {"verb": [f"v{i}" for i in range(5)], "noun": [f"n{i}" for i in range(4)]}
    counts = np.array([[0, 6, 0, 0, 0, 2, 0], [0, 0, 0, 0, 0, 0, 0]])
    rows = retrieved_rows(counts, "lta", ["no", "yes"], backpack, names)
    assert rows == [
        {"class": "no", "perspective": "lta", "verb": "v1", "noun": "n1", "count": 6,
         "share": 0.75},
        {"class": "no", "perspective": "lta", "verb": "v0", "noun": "n1", "count": 2,
         "share": 0.25},
    ]  # fmt: skip
    assert len(retrieved_rows(counts, "lta", ["no", "yes"], backpack, names, top=1)) == 1
