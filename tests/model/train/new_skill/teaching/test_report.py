from dataclasses import replace

import pytest
import torch

from model.train.new_skill.confidence import Confidence
from model.train.new_skill.teaching.report import (
    HeldOutAnswers,
    accuracy,
    confusion,
    none_of_these,
    thresholds,
)

LABELS = ["left", "right", "none"]


def answers(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probability = (2 * torch.randn(count, 3, generator=generator)).softmax(dim=1)
    truth = torch.randint(3, (count,), generator=generator)
    right = int((probability.argmax(dim=1) == truth).sum())
    return HeldOutAnswers(Confidence(right, count, count, 0.4, 3), probability, truth)


def test_confusion_counts_every_held_out_label_once():
    found = answers()
    counts = torch.tensor(confusion(found))
    assert counts.sum(dim=1).tolist() == found.truth.bincount(minlength=3).tolist()
    assert int(counts.diagonal().sum()) == found.confidence.right
    said = found.probability.argmax(dim=1)
    for truth, column in ((0, 2), (2, 0)):
        assert counts[truth, column] == ((found.truth == truth) & (said == column)).sum()


def test_a_threshold_trades_answers_for_precision():
    found = answers()
    rows = thresholds(found)
    assert [row["threshold"] for row in rows] == [pytest.approx(i / 20) for i in range(21)]
    share = accuracy(found.confidence)["share"]
    assert rows[0] == {"threshold": 0, "answered": 1, "precision": share, "recall": share}
    for row in rows:
        assert row["recall"] == pytest.approx(row["answered"] * (row["precision"] or 0))
    for name in ("answered", "recall"):
        values = [row[name] for row in rows]
        assert values == sorted(values, reverse=True)
    assert rows[-1]["precision"] is None
    certain = replace(found, probability=torch.eye(3)[found.truth])
    assert thresholds(certain)[-1] == {"threshold": 1, "answered": 1, "precision": 1, "recall": 1}


def test_none_of_these_is_counted_as_found_and_as_mistaken():
    found = answers()
    counts = torch.tensor(confusion(found))
    none = none_of_these(found, LABELS, "none")
    assert (none["right"], none["held_out"]) == (counts[2, 2], counts[2].sum())
    assert none["mistaken"] == counts[:2, 2].sum()
    assert none["others"] == counts[:2].sum()


def test_without_held_out_labels_nothing_is_claimed():
    empty = HeldOutAnswers(
        Confidence(0, 0, 2, 0.5, 0), torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    )
    assert accuracy(empty.confidence) is None
    assert thresholds(empty) == []
    assert confusion(empty) == [[0] * 3] * 3
    assert none_of_these(empty, LABELS, "none")["held_out"] == 0
