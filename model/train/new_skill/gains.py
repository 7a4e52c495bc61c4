"""Gains of methods over the plain head: means over draws, paired bootstrap intervals, a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluate.report.intervals import DRAWS, LEVEL, Interval

Counts = NDArray[np.int64]

BASE = "head"
"""What the others are compared with."""


@dataclass(frozen=True, eq=False)
class Cell:
    """All draws of one task at one number of labels a class, on one split.

    Attributes:
        right: method -> (draws, videos) right answers; a method may have only the first draws.
        samples: (videos,) samples of each video.
        num_labels: labels of a draw, over all classes.
    """

    right: dict[str, Counts]
    samples: Counts
    num_labels: int

    def accuracy(self, method: str) -> float:
        """Returns the mean accuracy over a method's draws."""
        right = self.right[method]
        return float(right.sum() / (len(right) * self.samples.sum()))


def gain(cells: Sequence[Cell], method: str, *, seed: int = 0) -> tuple[float, Interval | None]:
    """Returns the mean gain of a method over the plain head, averaged over cells.

    Draws and videos are both resampled, the same ones for both methods and in all cells: the
    interval covers other labels and other videos.

    Args:
        cells: of several tasks on the same videos and draws, or of one.
        method: another than the plain head.
        seed: of the bootstrap.

    Returns:
        The gain, and its 95 % percentile interval; None below two draws or two videos.
    """
    draws = min(len(cell.right[method]) for cell in cells)
    differences = [cell.right[method][:draws] - cell.right[BASE][:draws] for cell in cells]
    pairs = list(zip(differences, cells, strict=True))
    mean = float(np.mean([d.sum() / (draws * c.samples.sum()) for d, c in pairs]))
    videos = len(cells[0].samples)
    if draws < 2 or videos < 2 or any(len(c.samples) != videos for c in cells):
        return mean, None
    generator = np.random.default_rng(seed)
    of_draws = generator.multinomial(draws, np.full(draws, 1 / draws), size=DRAWS)
    of_videos = generator.multinomial(videos, np.full(videos, 1 / videos), size=DRAWS)
    means = np.mean(
        [
            ((of_draws @ d) * of_videos).sum(axis=1) / (draws * (of_videos @ c.samples))
            for d, c in pairs
        ],
        axis=0,
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return mean, Interval(float(low), float(high))


def format_gains(cells: Mapping[str, Mapping[int, Cell]], split: str) -> str:
    """Returns a Markdown table: accuracy of the plain head, gains of the other methods.

    Several tasks get a last block with their mean.

    Args:
        cells: task -> labels a class -> its draws.
        split: heading of the first column.
    """
    first = next(iter(next(iter(cells.values())).values()))
    others = [method for method in first.right if method != BASE]
    lines = [
        f"| {split} | labels a class (all) | {BASE} | {' | '.join(others)} |",
        "|---|---:|" + "---:|" * (1 + len(others)),
    ]
    for task, by_count in cells.items():
        for count, cell in by_count.items():
            row = [task, f"{count} ({cell.num_labels})", f"{cell.accuracy(BASE):.3f}"]
            row += [format_gain([cell], method) for method in others]
            lines.append(f"| {' | '.join(row)} |")
    if len(cells) > 1:
        for count in next(iter(cells.values())):
            joint = [by_count[count] for by_count in cells.values() if count in by_count]
            mean = float(np.mean([cell.accuracy(BASE) for cell in joint]))
            row = ["**mean**", str(count), f"{mean:.3f}"]
            row += [format_gain(joint, method) for method in others]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def format_gain(cells: Sequence[Cell], method: str) -> str:
    """Returns a method's mean gain over the plain head with its interval; "" where it is not."""
    if any(method not in cell.right for cell in cells):
        return ""
    mean, bounds = gain(cells, method)
    if bounds is None:
        return f"{mean:+.3f}"
    return f"{mean:+.3f} [{bounds.low:+.3f}, {bounds.high:+.3f}]"
