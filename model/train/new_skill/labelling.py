"""Command `python -m model.train labelling`: what suggestions and forecasts of labels are worth.

Both are tried on tasks whose labels are all known. Suggestions: a few labels drawn at random, then
batches of suggested segments, against as many labels drawn at random, on the same videos.
Forecasts: what ten more labels would bring, told from a draw, against what ten more then bring.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from extract.errors import ExtractError
from model.data.task_file import read_task
from model.errors import ModelError
from model.nn.few_labels.panel import Panel
from model.train.new_skill.command import read_skill_data
from model.train.new_skill.compare import ContestOptions, check_contests
from model.train.new_skill.draws import Contest, RowCache
from model.train.new_skill.few_labels import classes_of, learn_panel, videos_of
from model.train.new_skill.gains import BASE, Cell, format_gain
from model.train.new_skill.options import add_label_arguments
from model.train.new_skill.teaching.curve import MORE, learning_curve
from model.train.new_skill.teaching.suggest import (
    COUNT,
    choose,
    fused,
    places_of,
    uncertainty,
    weighed,
)
from weights.errors import WeightsError

SUGGESTED = "suggested"
LABELS = 20
FORECAST_FROM = (10, 20, 40)


class LabellingOptions(ContestOptions):
    """Flags of `python -m model.train labelling`."""

    videos_a_draw: int


@dataclass(frozen=True)
class Forecasts:
    """Forecasts from one number of labels, and what then came, a value a draw.

    Attributes:
        said: accuracy that was forecast, (D, 3) with its interval.
        came: accuracy on other videos with ten labels more, (D,).
        judged: cross-validated accuracy with ten labels more, (D,).
    """

    said: np.ndarray
    came: np.ndarray
    judged: np.ndarray

    def row(self) -> list[str]:
        """Returns means, and how often the interval holds what came, as cells of a table.

        Dashes where no draw had labels enough for a forecast.
        """
        if not len(self.said):
            return ["-"] * 4
        low, high = self.said[:, 1], self.said[:, 2]
        cells = [f"{self.said[:, 0].mean():.3f}", f"{(high - low).mean():.3f}"]
        for then in (self.judged, self.came):
            cells.append(f"{then.mean():.3f}, {np.mean((low <= then) & (then <= high)):.2f}")
        return cells


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when an argument or an input file is wrong."""
    options = _parse(argv)
    work, cache = options.work or Path("work") / "labelling", RowCache()
    suggested = [
        f"| labels | random | {SUGGESTED} | difference |",
        "|---|---:|---:|---:|",
    ]
    forecast = [
        "| labels | forecast | its width | cross-validated then, covered | others then, covered |",
        "|---|---:|---:|---:|---:|",
    ]
    try:
        tasks = [read_task(path) for path in options.tasks]
        check_contests(tasks, options)
        for task, path in zip(tasks, options.all_labels, strict=True):
            options.labels = path
            contest = Contest.of(read_skill_data(task, options, work), cache, options.draw_from)
            cell = try_suggestions(contest, options.draws, options.videos_a_draw)
            means = [f"{cell.accuracy(method):.3f}" for method in (BASE, SUGGESTED)]
            name, gained = task.spec.name, format_gain([cell], SUGGESTED)
            suggested.append(f"| {name}, {LABELS} | {' | '.join(means)} | {gained} |")
            for count in FORECAST_FROM:
                row = try_forecasts(contest, options.draws, count).row()
                forecast.append(f"| {name}, {count} + {MORE} | {' | '.join(row)} |")
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join([*suggested, "", *forecast]))
    return 0


def try_suggestions(contest: Contest, draws: int, videos: int) -> Cell:
    """Returns right answers after `LABELS` labels, at random and suggested, on the same videos.

    Args:
        contest: the task.
        draws: of videos, and of the labels at random; the first `COUNT` of these are labelled
            before anything is suggested.
        videos: of a draw.
    """
    samples = contest.data.samples[contest.pool]
    mine, names = videos_of(samples), list(contest.videos(contest.pool))
    right: dict[str, list[list[int]]] = {BASE: [], SUGGESTED: []}
    for seed in tqdm(range(draws), desc=f"{contest.data.task.spec.name}: {SUGGESTED}", unit="draw"):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(names), generator=generator)[:videos]
        kept = {names[place] for place in order.tolist()}
        pool = torch.tensor([place for place, name in enumerate(mine) if name in kept])
        pool = pool[torch.randperm(len(pool), generator=generator)]
        right[BASE].append(_right(contest, pool[:LABELS]))
        right[SUGGESTED].append(_right(contest, _suggested(contest, pool)))
    counts = {method: np.array(found) for method, found in right.items()}
    sizes = [size for split in contest.scored for size in contest.videos(split).values()]
    return Cell(counts, np.array(sizes), LABELS)


def try_forecasts(contest: Contest, draws: int, count: int) -> Forecasts:
    """Returns forecasts from `count` labels drawn at random, of every class one, and what came."""
    samples = contest.data.samples[contest.pool]
    classes = classes_of(samples)
    total = sum(sum(contest.videos(split).values()) for split in contest.scored)
    said, came, judged = [], [], []
    name = f"{contest.data.task.spec.name}: {count} + {MORE}"
    for seed in tqdm(range(draws), desc=name, unit="draw"):
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
        first = [order[classes[order] == label][:1] for label in classes.unique()]
        order = torch.cat([*first, order[~torch.isin(order, torch.cat(first))]])
        now = order[:count].sort().values
        panel = _fit(contest, now)
        few = samples.take(now)
        curve = learning_curve(contest.backbone, few, panel, panel.weights(), seed=seed)
        held_out = _fit(contest, order[: count + MORE].sort().values).cross_validated()
        if curve is None or held_out is None:
            continue
        found = curve.forecast(seed=seed)
        said.append([found[key] for key in ("accuracy", "low", "high")])
        came.append(sum(_right(contest, order[: count + MORE])) / total)
        judged.append(float((held_out[0].argmax(dim=1) == held_out[1]).double().mean()))
    return Forecasts(np.array(said).reshape(-1, 3), np.array(came), np.array(judged))


def _suggested(contest: Contest, pool: Tensor) -> Tensor:
    """The first `COUNT` of the pool and suggestions from the others, `LABELS` in all."""
    rows, classes = contest.rows[contest.pool], classes_of(contest.data.samples[contest.pool])
    taken = pool[:COUNT]
    while len(taken) < LABELS:
        left = pool[~torch.isin(pool, taken)]
        doubt = torch.ones(len(left), dtype=torch.float64)
        if len(seen := classes[taken].unique()) > 1:
            votes, weights = weighed(_fit(contest, taken.sort().values), rows.take(left))
            doubt = uncertainty(fused(votes[:, :, seen].log_softmax(dim=2), weights))
        known, free = places_of(rows.take(taken)), places_of(rows.take(left))
        found = choose(free, doubt, known, COUNT)
        taken = torch.cat([taken, left[[place for place, *_ in found]]])
    return taken


def _fit(contest: Contest, which: Tensor) -> Panel:
    samples, rows = contest.data.samples[contest.pool], contest.rows[contest.pool]
    few = samples.take(which)
    return learn_panel(contest.backbone, few, rows.take(which), len(contest.data.labels), seed=0)


def _right(contest: Contest, which: Tensor) -> list[int]:
    """Right answers of each video that is scored, with a skill learnt from some of the pool."""
    panel = _fit(contest, which.sort().values)
    return [hits for split in contest.scored for hits in _hits(contest, panel, split)]


def _hits(contest: Contest, panel: Panel, split: str) -> Iterator[int]:
    return iter(contest.right(split, fused(*weighed(panel, contest.rows[split]))))


def _parse(argv: list[str]) -> LabellingOptions:
    parser = argparse.ArgumentParser(
        prog="python -m model.train labelling",
        description="Compares skills learnt from suggested segments with skills learnt from as "
        "many at random, with 95 %% intervals (paired bootstrap over draws and videos), and "
        "forecasts of the accuracy with ten more labels with what ten more bring.",
    )
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK.toml", help="task files")
    add_label_arguments(parser, many=True)
    parser.add_argument(
        "--draws", type=int, default=20, help="of videos and labels (default: %(default)s)"
    )
    parser.add_argument(
        "--videos-a-draw",
        type=int,
        default=6,
        help="videos that suggestions are made of (default: %(default)s)",
    )
    parser.add_argument(
        "--draw-from",
        choices=("train", "val"),
        default="val",
        help="split that labels are drawn from; the others, train aside, are answered (default: "
        "%(default)s, which a backbone trained on train has not seen)",
    )
    options = parser.parse_args(argv, LabellingOptions())
    if min(options.draws, options.videos_a_draw) < 1:
        parser.error("--draws and --videos-a-draw take numbers above 0")
    options.seed = 0  # of the split by video, where the labels have none
    return options
