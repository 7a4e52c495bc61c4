"""Agreement between perspectives, and the prototypes that each class retrieves."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.evaluate.report.confusion import Row
from model.nn.backpack import Backpack

Shares = NDArray[np.float64]


def agreement(decisions: Mapping[str, Tensor]) -> Shares:
    """Returns the share of equal decisions of any two votes, (V, V), in order (Fig. 7)."""
    votes = np.stack([d.flatten().numpy() for d in decisions.values()])  # (V, M*m)
    return np.asarray((votes[:, None] == votes[None, :]).mean(axis=2))


def agreement_rows(task: str, output: str, names: Sequence[str], shares: Shares) -> list[Row]:
    """Returns one line per pair of votes."""
    return [
        {"task": task, "output": output, "vote": a, "other": b, "agreement": float(shares[i, j])}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    ]


def retrieved(
    rows: Tensor, labels: Tensor, num_labels: int, num_prototypes: int
) -> NDArray[np.int64]:
    """Returns the count of each prototype in each class's retrievals, (Y, P) (Fig. 5).

    Args:
        rows: (M, n, k) prototypes retrieved for the n nodes of each sample.
        labels: (M,) class of each sample.
        num_labels: Y.
        num_prototypes: P.
    """
    pairs = labels.view(-1, 1, 1) * num_prototypes + rows
    flat = np.bincount(pairs.flatten().numpy(), minlength=num_labels * num_prototypes)
    return flat.reshape(num_labels, num_prototypes)


def grouped(counts: NDArray[np.int64], group: Tensor, num_groups: int) -> NDArray[np.int64]:
    """Returns the counts (Y, P) with prototypes of one verb (or noun) added up, (Y, num_groups)."""
    member = np.eye(num_groups, dtype=np.int64)[group.numpy()]  # (P, num_groups)
    return np.asarray(counts @ member)


def retrieved_rows(
    counts: NDArray[np.int64],
    perspective: str,
    classes: Sequence[str],
    backpack: Backpack,
    label_spaces: Mapping[str, Sequence[str]],
    *,
    top: int = 10,
) -> list[Row]:
    """Returns the prototypes that each class retrieves most, with their share of its retrievals."""
    lines: list[Row] = []
    for name, line in zip(classes, counts, strict=True):
        lines += [
            {
                "class": name,
                "perspective": perspective,
                **{s: label_spaces[s][int(ids[p])] for s, ids in backpack.labels.items()},
                "count": int(line[p]),
                "share": float(line[p] / line.sum()),
            }
            for p in np.argsort(-line, kind="stable")[:top]
            if line[p]
        ]
    return lines
