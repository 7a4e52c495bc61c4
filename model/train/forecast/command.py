"""Command `python -m model.train forecast`: ways to forecast, compared on label sequences alone.

Reads who did what when (CSV), splits the videos anew, trains the paper's LTA network and the
sequence forecaster on the labels, and prints edit distances beside frequency, repetition and
bigrams, with independent draws and with futures chosen as a set. Needs no video and no feature.
"""

import argparse
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from model.data.sequences import ActionSequences
from model.errors import ModelError, Stopped
from model.evaluate.forecasts import (
    ForecastRow,
    differences,
    format_differences,
    format_rows,
    plain_rows,
)
from model.tasks import LTA
from model.train.forecast.sequence_file import LabelSequences, read_sequences
from model.train.forecast.ways import FORECASTER, LabelForecasts
from model.train.ledger import Ledger, stage_key
from weights.storage.atomic import write_atomic

EXIT_SIGNAL = 128

PASTS = {f"{LTA.num_segments} observed": LTA.num_segments, "whole past": 0}
"""Heading -> actions seen, 0 for all."""


class ForecastOptions(argparse.Namespace):
    """Flags of `python -m model.train forecast`."""

    data: Path
    name: str
    work: Path
    out: Path | None
    json: Path | None
    seed: int
    every: int
    samples: int
    threads: int


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when an argument or a file is wrong."""
    options = _parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    try:
        data = read_sequences(options.data)
        text, figures = compare(data, options)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return EXIT_SIGNAL + stop.signum
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    if options.out:
        write_atomic(options.out, text + "\n")
    if options.json:
        write_atomic(options.json, json.dumps(figures, indent=1) + "\n")
    return 0


def compare(data: LabelSequences, options: ForecastOptions) -> tuple[str, dict[str, Any]]:
    """Returns the tables as Markdown and their figures as plain JSON types.

    Raises:
        AnnotationInvalid: a split has no sequence long enough.
    """
    splits = {name: ActionSequences.join(clips) for name, clips in data.split(options.seed).items()}
    key = stage_key(
        data.labels, {n: s.ids.tolist() for n, s in splits.items()}, options.seed, options.every
    )
    ledger = Ledger(options.work, {"forecaster": 120.0, "graph": 120.0})
    ways = LabelForecasts(
        splits,
        {output: len(names) for output, names in data.labels.items()},
        ledger,
        key,
        seed=options.seed,
        every=options.every,
        samples=options.samples,
    )
    windows = ways.windows["test"]
    groups = windows.clip.numpy()
    sections = [_about(data, splits, len(windows), len(set(groups.tolist())), options)]
    figures: dict[str, Any] = {"temperature": ways.temperatures()}
    for heading, observed in PASTS.items():
        rows: list[ForecastRow] = ways.rows(observed)
        found = differences(rows, groups, ours=FORECASTER, seed=options.seed)
        sections += [format_rows(heading, rows, groups, seed=options.seed)]
        sections += [format_differences(f"difference, {heading}", found)]
        figures[heading] = plain_rows(rows)
    sections.append(_remarks(figures["temperature"]))
    return "\n\n".join(sections), figures


def _about(
    data: LabelSequences,
    splits: dict[str, ActionSequences],
    num_windows: int,
    num_videos: int,
    options: ForecastOptions,
) -> str:
    counts = ", ".join(
        f"{name} {len(s.offset) - 1} videos, {len(s.ids)} actions" for name, s in splits.items()
    )
    return f"""# Forecasts of {options.name}

Edit distance of the next {LTA.num_future} actions, best of 5 futures. {len(data.labels["verb"])} \
verbs, {len(data.labels["noun"])} nouns; {counts}; {data.left_out} rows without a verb or a noun \
left out. Videos split with seed {options.seed}; {num_windows} test windows of {num_videos} \
videos, one every {options.every} actions; the past is the true one. Sets are chosen from \
{options.samples} samples. ± is half of a 95 % bootstrap interval by video; differences are \
paired, and bold where their interval excludes 0.

`{_command(options)}`"""


def _command(options: ForecastOptions) -> str:
    """The command that makes these figures, without the places of files."""
    words = ["python", "-m", "model.train", "forecast", options.data.name, "--name", options.name]
    words += ["--every", str(options.every), "--samples", str(options.samples)]
    return shlex.join([*words, "--seed", str(options.seed)])


def _remarks(temperature: dict[str, float]) -> str:
    drawn = ", ".join(f"{name} {value:g}" for name, value in temperature.items())
    return f"""Temperatures of sampling, chosen on val for sets: {drawn}; "at 1" is the \
model's own distribution. The graph network sees two actions and the bigram one, whatever the \
past; `repeat` goes through the last 1, 2, 4, 8 and 16 actions seen."""


def _parse(argv: list[str]) -> ForecastOptions:
    parser = argparse.ArgumentParser(prog="python -m model.train forecast", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("data", type=Path,
        help="CSV file, or folder of CSV files such as EgoExoLearn's annotations, with the columns "
        "video_id, start_sec, end_sec, verb and noun")
    add("--name", default="label sequences",
        help="name of the data in the heading (default: %(default)s)")
    add("--work", type=Path, default=Path("work/forecast"),
        help="folder of the trained models; a rerun continues there (default: %(default)s)")
    add("--out", type=Path, metavar="FILE.md", help="also write the tables there (default: none)")
    add("--json", type=Path, metavar="FILE",
        help="file for the figures alone, as JSON (default: none)")
    add("--seed", type=int, default=0,
        help="of the split, the training, the draws and the bootstrap (default: %(default)s)")
    add("--every", type=int, default=5,
        help="actions between two windows of a video (default: %(default)s)")
    add("--samples", type=int, default=40,
        help="samples that a set of futures is chosen from (default: %(default)s)")
    add("--threads", type=int, default=2, help="of the CPU (default: %(default)s)")
    # fmt: on
    options = parser.parse_args(argv, ForecastOptions())
    if options.samples < 5:
        parser.error(f"--samples: a set has 5 futures, got {options.samples}")
    if options.every < 1 or options.threads < 1:
        parser.error("--every and --threads are at least 1")
    return options
