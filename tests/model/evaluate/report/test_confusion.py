import numpy as np
import pytest

from model.evaluate.report.confusion import (
    REST,
    class_rows,
    confused_pairs,
    confusion,
    largest,
    matrix_rows,
)

NAMES = ["cut", "take", "put", "wash"]


def drawn(seed, num_labels=4, rows=60):
    g = np.random.default_rng(seed)
    return g.integers(0, num_labels, rows), g.integers(0, num_labels, rows)


def test_confusion_counts_every_sample_once_in_its_cell():
    for seed in range(50):
        truth, decided = drawn(seed)
        counts = confusion(truth, decided, 4)
        for i in range(4):
            for j in range(4):
                pairs = zip(truth, decided, strict=True)
                assert counts[i, j] == sum((t, d) == (i, j) for t, d in pairs)


def test_precision_recall_and_f1_follow_their_definitions():
    for seed in range(50):
        truth, decided = drawn(seed)
        for row in class_rows(confusion(truth, decided, 4), NAMES):
            y = row["id"]
            right = int(((truth == y) & (decided == y)).sum())
            assert row["support"] == (truth == y).sum()
            assert row["precision"] == pytest.approx(right / (decided == y).sum())
            assert row["recall"] == pytest.approx(right / (truth == y).sum())
            p, r = row["precision"], row["recall"]
            assert row["f1"] == pytest.approx(2 * p * r / (p + r) if right else 0)


def test_what_is_not_defined_is_empty():
    rows = class_rows(confusion(np.array([0, 0]), np.array([0, 1]), 3), NAMES[:3])
    assert [row["precision"] for row in rows] == [1.0, 0.0, None]
    assert [row["recall"] for row in rows] == [0.5, None, None]
    assert [row["f1"] for row in rows] == [pytest.approx(2 / 3), 0.0, None]


def test_confused_pairs_are_mistakes_most_frequent_first():
    counts = np.array([[5, 1, 0], [3, 0, 0], [0, 2, 9]])
    rows = confused_pairs(counts, NAMES[:3])
    assert [(r["truth"], r["decided"], r["count"]) for r in rows] == [
        ("take", "cut", 3),
        ("put", "take", 2),
        ("cut", "take", 1),
    ]
    assert [r["share_of_truth"] for r in rows] == [1.0, pytest.approx(2 / 11), pytest.approx(1 / 6)]
    assert len(confused_pairs(counts, NAMES[:3], top=2)) == 2


def test_the_rest_keeps_every_count():
    for seed in range(20):
        counts = confusion(*drawn(seed, num_labels=30, rows=400), 30)
        names = [f"n{i}" for i in range(30)]
        small, shown = largest(counts, names, top=20)
        assert small.shape == (21, 21)
        assert shown[-1] == REST
        assert small.sum() == 400
        support = dict(zip(names, counts.sum(axis=1), strict=True))
        ranked = sorted(names, key=lambda n: (-support[n], names.index(n)))
        assert shown[:-1] == ranked[:20]
        for place, name in enumerate(shown[:-1]):
            assert small[place].sum() == support[name]
            assert small[place, place] == counts[names.index(name), names.index(name)]


def test_there_is_no_rest_without_anything_in_it():
    small, shown = largest(np.diag([3, 2, 0, 0]), NAMES)
    assert shown == ["cut", "take"]
    assert small.tolist() == [[3, 0], [0, 2]]
    taken_for_a_class_never_true = np.array([[1, 0, 1], [0, 0, 0], [0, 0, 0]])
    small, shown = largest(taken_for_a_class_never_true, NAMES[:3])
    assert (small.tolist(), shown) == ([[1, 1], [0, 0]], ["cut", REST])


def test_a_matrix_becomes_lines_with_a_column_per_class():
    rows = matrix_rows(np.array([[1, 2], [3, 4]]), ["a", "b"])
    assert [list(r.values()) for r in rows] == [["a", 1, 2], ["b", 3, 4]]
