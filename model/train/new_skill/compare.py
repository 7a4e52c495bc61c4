"""Command `python -m model.train compare`: the gain of the backpack by number of labels.

A user-defined task is trained on shares of its labels, with the backpack and without (plain
fine-tuning), on the same frozen backbone, with several seeds.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tqdm import tqdm

from extract.errors import ExtractError
from model.data.task_file import read_task
from model.errors import ModelError
from model.evaluate.tables import arrow
from model.train.ledger import stage_key
from model.train.new_skill.command import (
    LabelOptions,
    SkillData,
    add_label_arguments,
    fraction_of,
    learn_from,
    read_skill_data,
)
from weights.errors import WeightsError
from weights.storage.atomic import write_atomic

WAYS = {"backpack": True, "fine-tuning": False}
"""Column -> whether the backpack is used."""


class CompareOptions(LabelOptions):
    """Flags of `python -m model.train compare`."""

    fractions: list[float]
    seeds: int
    out: Path | None


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when an argument or an input file is wrong."""
    options = _parse(argv)
    try:
        task = read_task(options.task)
        work = options.work or Path("work") / task.spec.name
        data = read_skill_data(task, options, work)
        key = stage_key(data.bundle.sha256, task, options.labels.read_text("utf-8"))
        file = RunFile(options.out or work / "compare.json", key)
        runs = compare(data, options.fractions, range(options.seeds), file)
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for split in [s for s in data.samples if s != "train"]:
        print(format_runs(runs, split) + "\n")
    return 0


def compare(
    data: SkillData, fractions: list[float], seeds: range, runs: "RunFile"
) -> list[dict[str, Any]]:
    """Returns one record a run: fraction, way, seed, training samples, split -> metrics.

    Runs that the file has are not repeated.
    """
    plan = [(f, way, seed) for f in fractions for seed in seeds for way in WAYS]
    records: list[dict[str, Any]] = []
    for fraction, way, seed in tqdm(plan, desc="runs", unit="run"):
        record = runs.find(fraction=fraction, way=way, seed=seed)
        if record is None:
            own = learn_from(
                data, fraction=fraction, seed=seed, has_backpack=WAYS[way], progress=False
            )
            record = {"fraction": fraction, "way": way, "seed": seed}
            record |= {"samples": own.num_samples["train"], "metrics": own.metrics}
            runs.add(record)
        records.append(record)
    return records


class RunFile:
    """Finished runs on disk, from which a killed comparison resumes."""

    def __init__(self, path: Path, key: str) -> None:
        """Reads the finished runs, unless they have another key.

        Args:
            path: a JSON file; need not exist.
            key: hash of everything that the runs depend on, their own settings aside.
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
        text = json.dumps({"key": self._key, "runs": self._runs}, indent=1)
        write_atomic(self._path, text + "\n")


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
        for fraction in dict.fromkeys(run["fraction"] for run in runs):
            mine = [run for run in runs if run["fraction"] == fraction]
            values = {
                way: [run["metrics"][split][metric] for run in mine if run["way"] == way]
                for way in columns
            }
            with_backpack, without = (fmean(values[way]) for way in columns)
            row = [f"{metric} {arrow(metric)}", f"{fraction:.0%} ({mine[0]['samples']})"]
            row += [f"{fmean(v):.3f} ± {_spread(v):.3f}" for v in values.values()]
            lines.append(f"| {' | '.join(row)} | {with_backpack - without:+.3f} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _parse(argv: list[str]) -> CompareOptions:
    parser = argparse.ArgumentParser(prog="python -m model.train compare", description=__doc__)
    parser.add_argument("task", type=Path, help="the task file")
    add_label_arguments(parser)
    parser.add_argument(
        "--fraction",
        type=fraction_of,
        action="append",
        dest="fractions",
        help="share of the training labels; may be repeated (default: 0.01, 0.1 and 1)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of seeds: 0, 1, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="JSON file of every run's metrics, resumed from (default: WORK/compare.json)",
    )
    options = parser.parse_args(argv, CompareOptions())
    options.fractions = options.fractions or [0.01, 0.1, 1.0]
    options.seed = 0  # of the split by video, where the labels have none: the same for all runs
    return options
