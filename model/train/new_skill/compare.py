"""What the backpack gains over fine-tuning without it, by labels given.

A task of one's own is learnt from shares of its labels, with the backpack and without, on the
same frozen backbone, for several seeds; the table has mean and standard deviation over them.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from extract.errors import ExtractError
from model.data.task_file import read_task
from model.errors import ModelError
from model.evaluate.tables import LOWER_IS_BETTER
from model.train.ledger import stage_key
from model.train.new_skill.command import (
    SkillData,
    add_label_arguments,
    fraction_of,
    learn_from,
    read_material,
)
from weights.errors import WeightsError

WAYS = {"backpack": True, "fine-tuning": False}
"""Column -> whether the known tasks' backpack is opened."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 when something given is wrong."""
    arguments = _parse(argv)
    torch.set_num_threads(arguments.workers)
    try:
        task = read_task(arguments.task)
        work = arguments.work or Path("work") / task.spec.name
        material = read_material(task, arguments, work)
        torch.set_num_threads(1)  # steps are too small to gain from more
        key = stage_key(material.bundle.sha256, task, arguments.labels.read_text("utf-8"))
        file = RunFile(arguments.out or work / "compare.json", key)
        runs = compare(material, arguments.fractions, range(arguments.seeds), file)
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for split in [s for s in material.samples if s != "train"]:
        print(format_runs(runs, split) + "\n")
    return 0


def compare(
    material: SkillData, fractions: list[float], seeds: range, runs: "RunFile"
) -> list[dict[str, Any]]:
    """Returns one record a run: fraction, way, seed, training samples, split -> metrics.

    Runs that the file has are not made again.
    """
    plan = [(f, way, seed) for f in fractions for seed in seeds for way in WAYS]
    records: list[dict[str, Any]] = []
    for fraction, way, seed in tqdm(plan, desc="runs", unit="run"):
        record = runs.find(fraction=fraction, way=way, seed=seed)
        if record is None:
            own = learn_from(
                material, fraction=fraction, seed=seed, has_backpack=WAYS[way], progress=False
            )
            record = {"fraction": fraction, "way": way, "seed": seed}
            record |= {"samples": own.num_samples["train"], "metrics": own.metrics}
            runs.add(record)
        records.append(record)
    return records


class RunFile:
    """Finished runs on disk, so that a killed comparison goes on where it was."""

    def __init__(self, path: Path, key: str) -> None:
        """Reads what is there, unless it was made from something else.

        Args:
            path: a JSON file, there or not.
            key: of everything the runs depend on, their own settings aside.
        """
        self._path, self._key = path, key
        self._runs: list[dict[str, Any]] = []
        if path.is_file():
            found = json.loads(path.read_text())
            self._runs = found["runs"] if found["key"] == key else []

    def find(self, **settings: object) -> dict[str, Any] | None:
        """Returns the run of these settings, or None."""
        return next((r for r in self._runs if settings.items() <= r.items()), None)

    def add(self, run: dict[str, Any]) -> None:
        """Writes one more run."""
        self._runs.append(run)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(json.dumps({"key": self._key, "runs": self._runs}, indent=1) + "\n")
        os.replace(part, self._path)


def format_runs(runs: list[dict[str, Any]], split: str) -> str:
    """Returns mean and standard deviation over the seeds as a Markdown table."""
    columns = list(WAYS)
    lines = [
        f"| {split} | labels | {' | '.join(columns)} | difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for metric in runs[0]["metrics"][split]:
        if metric == "samples":
            continue
        arrow = "↓" if metric.endswith(LOWER_IS_BETTER) else "↑"
        for fraction in dict.fromkeys(run["fraction"] for run in runs):
            mine = [run for run in runs if run["fraction"] == fraction]
            values = {
                way: [run["metrics"][split][metric] for run in mine if run["way"] == way]
                for way in columns
            }
            means = [statistics.fmean(values[way]) for way in columns]
            cells = [f"{statistics.fmean(v):.3f} ± {_spread(v):.3f}" for v in values.values()]
            labels = f"{fraction:.0%} ({mine[0]['samples']})"
            gain = means[0] - means[1]
            lines.append(f"| {metric} {arrow} | {labels} | {' | '.join(cells)} | {gain:+.3f} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.train.new_skill.compare", description=__doc__
    )
    parser.add_argument("task", type=Path, help="the task file")
    add_label_arguments(parser)
    parser.add_argument(
        "--fraction",
        type=fraction_of,
        action="append",
        dest="fractions",
        help="share of the training labels; repeat it (0.01, 0.1 and 1)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="0 to this; one run each")
    parser.add_argument(
        "--out", type=Path, help="every run's figures as JSON; gone on from (WORK/compare.json)"
    )
    arguments = parser.parse_args(argv)
    arguments.fractions = arguments.fractions or [0.01, 0.1, 1.0]
    arguments.seed = 0  # of the split by video, where the labels have none: the same for all runs
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
