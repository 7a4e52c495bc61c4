"""Flags of `python -m model.evaluate`, and those that scoring and training share with it."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from model.config import ModelConfig
from model.data.annotations import VERSIONS
from model.data.missing import Missing
from model.data.tables.kinds import KINDS, is_spec
from model.data.tables.overlaps import Overlaps
from model.data.task_samples import Enumeration
from model.evaluate.report.intervals import Resample
from weights import SHIPPED_BUNDLE
from weights.storage.folders import Place, as_place

ScoredSplit = Literal["val", "test"]

FutureChoice = Literal["independent", "set"]
"""How LTA's hypotheses are made, as `ModelConfig.future_choice` has it."""


class EvaluateOptions(argparse.Namespace):
    """Values of the flags that `parse_options` describes."""

    bundle: Place
    data: Path | str
    version: str | None
    features: str | None
    packed_under: Path | None
    splits: list[ScoredSplit] | None
    lta_windows: Enumeration | None
    missing: Missing | None
    out: Path | None
    json: Path | None
    seed: int
    future_temperature: float | None
    future_choice: FutureChoice | None
    resample: Resample
    per_batch: int | None
    compare_paper: bool | None
    device: str
    videos: Path | None
    fps: float | None
    overlaps: Overlaps | None

    @property
    def is_table(self) -> bool:
        """Whether the data are a data set by name, `KIND:ROOT`."""
        return isinstance(self.data, str)


def parse_options(argv: list[str] | None) -> EvaluateOptions:
    """Returns the options; invalid ones end the process with status 2.

    Args:
        argv: arguments; None reads the command line's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Scores a bundle: every metric of every task with its 95 % interval, beside "
        "blind baselines. With --out it also writes tables, figures and a page.",
    )
    # fmt: off
    add = parser.add_argument
    add("--bundle", type=as_place, default=SHIPPED_BUNDLE,
        help="folder or URL of the bundle (default: the shipped one)")
    add("--data", type=data_source, default=Path("work/tabletop/world"),
        help="root of a data set in Ego4D's layout, or a data set by name, KIND:ROOT; of that the "
        "tasks that the bundle and its columns have in common are scored (default: %(default)s)")
    add("--version", choices=VERSIONS,
        help="annotations below the root (default: v1 where it is there, else v2)")
    add("--features", metavar="NAME|DIR|URL",
        help="a feature set of the data root, or a folder or URL of one; videos of an Ego4D root "
        "are then never read (default: the set of the bundle's encoder, filled from the videos "
        "where incomplete; for data by name work/BUNDLE/features)")
    add("--packed-under", type=Path, metavar="DIR",
        help="folder to pack --features into, as one memory-mapped file: for sets as large as "
        "Ego4D's (default: features are read into memory)")
    add("--split", action="append", choices=["val", "test"], dest="splits",
        help="split to score, once per split (default: every split with labels; Ego4D's test has "
        "none)")
    add_lta_windows(parser, "those the bundle was trained with")
    add("--missing", choices=get_args(Missing),
        help="videos with neither features nor a file to extract them from: end with an error, or "
        "skip their samples (default: refuse)")
    add("--out", type=Path, metavar="DIR",
        help="folder for report.html, its tables and figures (default: no report)")
    add("--json", type=Path, metavar="FILE",
        help="file for the figures alone, as JSON (default: none)")
    add("--seed", type=int, default=0,
        help="seed of the sampled futures and of the bootstrap (default: %(default)s)")
    add_future_options(parser)
    add("--resample", choices=get_args(Resample), default="video",
        help="unit that the bootstrap draws with replacement (default: %(default)s)")
    add("--per-batch", type=int, metavar="SIZE",
        help="with --out: also means of batch means of so many samples, which Ego4D logs "
        "(default: none)")
    add("--compare-paper", action=argparse.BooleanOptionalAction,
        help="show the paper's figures beside (default: if the bundle was trained on Ego4D)")
    add("--device", choices=["cpu", "cuda"], default="cpu",
        help="device of the models (default: %(default)s)")
    add_table_source(parser.add_argument_group("data by name"))
    # fmt: on
    options = parser.parse_args(argv, EvaluateOptions())
    for_root, for_table = ("version", "packed-under", "missing", "lta-windows"), TABLE_SOURCE
    if wrong := given(options, for_root if options.is_table else for_table):
        layout = "data in Ego4D's layout" if options.is_table else "--data by name, KIND:ROOT"
        parser.error(f"{wrong}: for {layout} alone")
    if options.out and options.out.suffix == ".json":
        parser.error(f"--out is a folder; for the figures alone use --json {options.out}")
    if options.per_batch is not None and options.per_batch < 1:
        parser.error(f"--per-batch needs a size of at least 1, got {options.per_batch}")
    if options.per_batch is not None and options.out is None:
        parser.error("--per-batch: its figures are in metrics.json, which --out writes")
    if options.packed_under is not None and options.features is None:
        parser.error("--packed-under: packs --features, and none are given")
    return options


def data_source(text: str) -> Path | str:
    """Parses `--data`, for argparse: `KIND:ROOT` stays text, a folder becomes a path."""
    if is_spec(text):
        return text
    if ":" in text and not Path(text).exists():
        raise argparse.ArgumentTypeError(
            f"{text} is no folder and names no data set: KIND:ROOT has one of the kinds "
            f"{', '.join(KINDS)}"
        )
    return Path(text)


def add_table_source(parser: argparse._ActionsContainer) -> None:
    """Adds the flags that say how a data set by name is read, and where its videos are."""
    parser.add_argument(
        "--videos", type=Path, metavar="DIR", help="folder of the videos, or one above it"
    )
    parser.add_argument(
        "--fps", type=float, help="frames a second of the videos, for kinds that count in frames"
    )
    parser.add_argument(
        "--overlaps",
        choices=get_args(Overlaps),
        help="rows of a table that overlap with different labels (default: refuse)",
    )


TABLE_SOURCE = ("videos", "fps", "overlaps")
"""What `add_table_source` adds."""


def given(options: argparse.Namespace, flags: Sequence[str]) -> str:
    """Returns which of some flags were given, in one line; empty for none."""
    values = vars(options)
    return ", ".join(f"--{flag}" for flag in flags if values.get(flag.replace("-", "_")))


def add_lta_windows(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds `--lta-windows`, None if not given: the help describes that `default` in words."""
    parser.add_argument(
        "--lta-windows",
        choices=list(get_args(Enumeration)),
        help="LTA windows that count: before-2023-08 leaves out each clip's last one, as the "
        f"published figures do (default: {default})",
    )


def add_future_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--future-temperature` and `--future-choice`; None keeps the bundle's own."""
    parser.add_argument(
        "--future-temperature",
        type=_temperature,
        metavar="T",
        help="temperature that divides the logits of LTA before futures are sampled (default: the "
        "bundle's, 1 unless it was trained with another)",
    )
    parser.add_argument(
        "--future-choice",
        choices=get_args(FutureChoice),
        help="how the futures of LTA are made: independent draws, or a set chosen from 40 draws "
        "for the least expected best-of-K edit distance (default: the bundle's)",
    )


def with_futures(
    config: ModelConfig, temperature: float | None, choice: FutureChoice | None
) -> ModelConfig:
    """Returns the config with `--future-temperature` and `--future-choice` where given."""
    return replace(
        config,
        future_temperature=temperature or config.future_temperature,
        future_choice=choice or config.future_choice,
    )


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value
