"""Command `python -m model.train compare`: what the backpack gains by the number of labels.

User-defined tasks are learnt from a few labels of each class, drawn anew many times. Every method
answers the same draws on the same frozen backbone: the plain head, the voters weighed by
cross-validation (auto), every voter alone, and the paper's interaction trained by gradients.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from extract.errors import ExtractError
from model.data.task_file import TaskFile, read_task
from model.errors import ModelError, TaskInvalid
from model.evaluate.report.figures import gain_figure, to_png
from model.train.ledger import stage_key
from model.train.new_skill.command import read_skill_data
from model.train.new_skill.draws import AUTO, EGOPACK, Contest, RowCache
from model.train.new_skill.few_labels import READOUTS
from model.train.new_skill.gains import BASE, Cell, format_gains, gain
from model.train.new_skill.options import LabelOptions, add_label_arguments
from weights.errors import WeightsError
from weights.storage.atomic import write_atomic

COUNTS = (1, 2, 5, 10, 50)
SAVE_S = 5.0
"""Seconds of work that a kill loses at most, beside the draw in progress."""

Cells = dict[str, dict[str, dict[int, Cell]]]
"""Split -> task -> labels a class -> its draws."""


class ContestOptions(LabelOptions):
    """Flags of a command that draws labels of several tasks."""

    tasks: list[Path]
    all_labels: list[Path]
    draws: int
    draw_from: str


class CompareOptions(ContestOptions):
    """Flags of `python -m model.train compare`."""

    counts: list[int]
    egopack_draws: int
    out: Path | None


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when an argument or an input file is wrong."""
    options = _parse(argv)
    try:
        tasks = [read_task(path) for path in options.tasks]
        check_contests(tasks, options)
        work = options.work or Path("work") / "compare"
        out = options.out or work / "compare.json"
        cells = compare(tasks, options, work, RunFile(out))
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for split, by_task in cells.items():
        print(format_gains(by_task, split) + "\n")
        picture = out.with_name(f"{out.stem}-{split}.png")
        write_atomic(picture, to_png(gain_figure(_panels(by_task), x="labels a class")))
        print(f"{picture}: the same as a picture\n")
    return 0


def compare(tasks: list[TaskFile], options: CompareOptions, work: Path, runs: "RunFile") -> Cells:
    """Returns the answers of every task, number of labels, draw and method.

    Draws that the file has are not repeated.
    """
    cache, cells = RowCache(), Cells()
    for task, labels in zip(tasks, options.all_labels, strict=True):
        options.labels = labels
        data = read_skill_data(task, options, work)
        contest = Contest.of(data, cache, options.draw_from)
        key = stage_key(data.bundle.sha256, task, labels.read_text("utf-8"))
        key += "" if contest.pool == "train" else f" {contest.pool}"
        bar = tqdm(total=len(options.counts) * options.draws, desc=task.spec.name, unit="draw")
        for count in options.counts:
            found: dict[str, list[dict[str, list[int]]]] = {}
            for seed in range(options.draws):
                with_egopack = seed < options.egopack_draws
                for method, right in _answers(contest, key, count, seed, with_egopack, runs):
                    found.setdefault(method, []).append(right)
                bar.update()
            num_labels = len(contest.draw(count, 0))
            for split in contest.scored:
                right_of = {m: np.array([r[split] for r in rs]) for m, rs in found.items()}
                samples = np.array(list(contest.videos(split).values()))
                by_count = cells.setdefault(split, {}).setdefault(task.spec.name, {})
                by_count[count] = Cell(right_of, samples, num_labels)
        bar.close()
    runs.save()
    return cells


def _answers(
    contest: Contest, key: str, count: int, seed: int, with_egopack: bool, runs: "RunFile"
) -> Iterator[tuple[str, dict[str, list[int]]]]:
    """Every method's right answers of one draw, from the file or made."""
    drawn = contest.draw(count, seed)
    forms = runs.find(f"{key} {count} {seed}")
    if forms is None:
        forms = dict(contest.closed_forms(drawn, seed))
        runs.add(f"{key} {count} {seed}", forms)
    yield BASE, forms[BASE]
    yield AUTO, forms[AUTO]
    if with_egopack:
        name = f"{key} {count} {seed} {EGOPACK}"
        right = runs.find(name)
        if right is None:
            right = contest.by_interaction(drawn, seed)
            runs.add(name, right)
        yield EGOPACK, right
    yield from ((m, right) for m, right in forms.items() if m not in (BASE, AUTO))


class RunFile:
    """Finished runs on disk, from which a killed comparison resumes."""

    def __init__(self, path: Path) -> None:
        """Reads the finished runs; the file need not exist."""
        self._path = path
        self._runs: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        self._saved_s = time.monotonic()

    def find(self, key: str) -> dict[str, Any] | None:
        """Returns the run of a key, which names everything that it depends on, or None."""
        found: dict[str, Any] | None = self._runs.get(key)
        return found

    def add(self, key: str, run: dict[str, Any]) -> None:
        """Keeps one more run; the file is written every few seconds."""
        self._runs[key] = run
        if time.monotonic() - self._saved_s > SAVE_S:
            self.save()

    def save(self) -> None:
        """Writes the file."""
        write_atomic(self._path, json.dumps(self._runs) + "\n")
        self._saved_s = time.monotonic()


def _panels(by_task: dict[str, dict[int, Cell]]) -> dict[str, dict[str, Any]]:
    """Task -> method -> (counts, 4): labels a class, gain and its interval."""
    panels: dict[str, dict[str, Any]] = {}
    for task, by_count in by_task.items():
        for method in (AUTO, EGOPACK):
            points = []
            for count, cell in by_count.items():
                if method in cell.right:
                    mean, bounds = gain([cell], method)
                    points.append((count, mean, *(bounds or (mean, mean))))
            if points:
                panels.setdefault(task, {})[method] = np.array(points)
    return panels


def check_contests(tasks: list[TaskFile], options: ContestOptions) -> None:
    """Raises TaskInvalid where tasks and labels files do not pair, or a task has no labels."""
    if len(tasks) != len(options.all_labels):
        raise TaskInvalid(
            f"{len(tasks)} task files and {len(options.all_labels)} --labels: give one labels file "
            "for each task, in the same order"
        )
    for path, task in zip(options.tasks, tasks, strict=True):
        if task.spec.readout not in READOUTS:
            raise TaskInvalid(
                f"{path}: a {task.kind} task has no label a segment to draw; take the "
                "kinds segment and graph"
            )


def _parse(argv: list[str]) -> CompareOptions:
    parser = argparse.ArgumentParser(
        prog="python -m model.train compare",
        description="Learns tasks from few labels of each class, drawn many times, by every "
        "method, and prints what each gains over the plain head with 95 %% intervals (paired "
        "bootstrap over draws and videos). The splits that "
        "are not drawn from, train aside, are answered whole.",
    )
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK.toml", help="task files")
    add_label_arguments(parser, many=True)
    parser.add_argument(
        "--counts",
        type=int,
        nargs="+",
        default=list(COUNTS),
        help="labels of each class (default: 1 2 5 10 50)",
    )
    parser.add_argument(
        "--draws", type=int, default=20, help="draws of each number (default: %(default)s)"
    )
    parser.add_argument(
        "--egopack-draws",
        type=int,
        default=3,
        help="of these, how many the paper's interaction is trained on, which takes seconds to "
        "minutes each (default: %(default)s)",
    )
    parser.add_argument(
        "--draw-from",
        choices=("train", "val"),
        default="train",
        help="split that labels are drawn from: val where the bundle's backbone was trained on the "
        "videos of train (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="JSON file of right answers, resumed from; pictures are written beside it (default: "
        "WORK/compare.json)",
    )
    options = parser.parse_args(argv, CompareOptions())
    if min(*options.counts, options.draws, 1) < 1 or options.egopack_draws < 0:
        parser.error("--counts and --draws take numbers above 0")
    options.seed = 0  # of the split by video, where the labels have none
    return options
