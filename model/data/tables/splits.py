"""Splits by video: a data set's own where they can be used, else drawn anew."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from model.data.tables.label_file import Split
from model.data.tables.table import SegmentTable
from model.errors import AnnotationInvalid

SHARES: Mapping[Split, float] = {"train": 0.8, "val": 0.2}
"""Of the videos, where a data set has no splits."""


def split_by_video(
    table: SegmentTable, *, seed: int, shares: Mapping[Split, float] = SHARES
) -> SegmentTable:
    """Returns the table with splits: its own if it has any, else its videos drawn anew.

    The videos of a label go to the splits in the splits' shares, labels of the fewest videos first,
    so that a label of one video is learnt rather than asked for, and the rest is as alike as
    whole videos allow.

    Args:
        table: of any data set.
        seed: of the draw.
        shares: of the videos, in each split; every split gets one at least.

    Raises:
        AnnotationInvalid: the table's own splits leave train or val without a video, or there are
            fewer videos than splits.
    """
    if table.split is None:
        table = replace(table, split=_draw(table, seed, shares))
    for wanted in ("train", "val"):
        if wanted not in (table.split or {}).values():
            raise AnnotationInvalid(
                f"{table.source}: no video is for {wanted}; there must be one for train and one "
                "for val"
            )
    return table


def _draw(table: SegmentTable, seed: int, shares: Mapping[Split, float]) -> dict[str, Split]:
    videos = list(table.videos)
    if len(videos) < len(shares):
        raise AnnotationInvalid(
            f"{table.source}: {len(videos)} video(s) cannot be split into {', '.join(shares)}: "
            f"label at least {len(shares)} videos"
        )
    random.Random(seed).shuffle(videos)
    room = _sizes(len(videos), shares)
    holders = _videos_by_label(table)
    wanted = {
        label: {part: share * len(names) for part, share in shares.items()}
        for label, names in holders.items()
    }
    labels_of: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for label, names in holders.items():
        for name in names:
            labels_of[name].append(label)
    split: dict[str, Split] = {}
    for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
        for name in (name for name in videos if name in holders[label] and name not in split):
            open_parts = [part for part in shares if room[part]]
            part = max(open_parts, key=lambda part: (wanted[label][part], room[part]))
            split[name] = part
            room[part] -= 1
            for other in labels_of[name]:
                wanted[other][part] -= 1
    return split


def _sizes(count: int, shares: Mapping[Split, float]) -> Counter[Split]:
    """Videos of each split: one at least, and the rest by largest remainder."""
    size: Counter[Split] = Counter(dict.fromkeys(shares, 1))
    total = sum(shares.values())
    for _ in range(count - len(shares)):
        size[max(shares, key=lambda part: shares[part] / total * count - size[part])] += 1
    return size


def _videos_by_label(table: SegmentTable) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for output, labels in table.labels.items():
        for name, label in zip(table.video, labels, strict=True):
            if label is not None:
                found[output, label].add(name)
    found["", ""] = set(table.videos)  # the last one: videos without any label are split, too
    return found
