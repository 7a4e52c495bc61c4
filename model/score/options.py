"""Flags of `python -m model.score`."""

import argparse
from pathlib import Path
from typing import Literal, get_args

import torch

from model.data.annotations import VERSIONS
from model.evaluate.options import FutureChoice, add_future_options
from model.score.features import MissingAnswers
from model.score.test_set import CHALLENGES, FIRST_OBSERVED
from weights.storage.folders import Place, as_place


class ScoreOptions(argparse.Namespace):
    """Values of the flags; `bundle`, `features` and `out` are set unless `check` is."""

    annotations: Path
    version: str | None
    bundle: Place
    features: Place
    videos: Path | None
    missing: MissingAnswers
    out: Path
    tasks: list[str]
    seed: int
    future_temperature: float | None
    future_choice: FutureChoice | None
    observed: int
    batch_size: int
    device: str
    check: list[Path] | None
    truth: Path | None
    engine: Literal["local", "ray"]
    address: str | None
    actors: int | None


def parse_options(argv: list[str] | None, about: str | None) -> ScoreOptions:
    """Returns the options; invalid ones end the process with status 2.

    Args:
        argv: arguments; None reads the command line's.
        about: description at the top of `--help`.
    """
    parser = _parser(about)
    options = parser.parse_args(argv, ScoreOptions())
    if unknown := set(options.tasks) - set(CHALLENGES):
        parser.error(f"no challenge for {', '.join(sorted(unknown))}: {', '.join(CHALLENGES)}")
    if min(options.observed, options.batch_size) < 1:
        parser.error("--observed and --batch-size are at least 1")
    if options.actors is not None and options.actors < 1:
        parser.error("--actors is at least 1")
    if options.engine == "local" and (options.address or options.actors):
        parser.error("--address and --actors need --engine ray")
    absent = [n for n in ("bundle", "features", "out") if getattr(options, n) is None]
    if not options.check and absent:
        parser.error(f"needs --{', --'.join(absent)}, or --check FILE")
    return options


def _parser(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.score",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # fmt: off
    add = parser.add_argument
    add("--annotations", type=Path, required=True,
        help="folder of the annotation JSON files, or a data root")
    add("--version", choices=VERSIONS,
        help="annotations below a root (default: v1 where it is there, else v2)")
    add("--bundle", type=as_place, help="folder or URL of the bundle")
    add("--features", type=as_place,
        help="folder or URL of the features, <video_uid>.pt or .safetensors")
    add("--videos", type=Path,
        help="folder of <video_uid>.mp4, or the root the Ego4D client filled: missing features are "
        "extracted with the bundle's encoder (default: none are)")
    add("--missing", choices=get_args(MissingAnswers), default="refuse",
        help="items of videos without features: refuse to write anything, fill in the most "
        "frequent training labels, or skip them (default: %(default)s)")
    add("--out", type=Path, help="folder of the challenge files")
    add("--tasks", type=lambda text: text.split(","), default=list(CHALLENGES), metavar="lta,...",
        help="challenges to answer, separated by commas (default: all three)")
    add("--seed", type=int, default=0,
        help="seed of LTA's sampled futures (default: %(default)s)")
    add_future_options(parser)
    add("--observed", type=int, default=FIRST_OBSERVED,
        help="actions observed by LTA's first window of a clip; fewer give more windows "
        "(default: %(default)s)")
    add("--batch-size", type=int, default=64, help="graphs in a batch (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu",
        help="device of the models, cpu or cuda (default: cuda where there is one)")
    add("--check", type=Path, nargs="+", metavar="FILE",
        help="challenge files to validate, in place of writing any")
    add("--truth", type=Path,
        help="data root with hidden/: also compute the metrics (default: none)")
    group = parser.add_argument_group("execution")
    group.add_argument("--engine", choices=("local", "ray"), default="local",
        help="ray: actors of a Ray cluster, to which bundle and features have the same paths "
        "(default: %(default)s)")
    group.add_argument("--address", metavar="HOST:PORT|auto",
        help="address of the Ray cluster; auto: the one this machine is part of (default: start "
        "one of this machine alone, and end it)")
    group.add_argument("--actors", type=int,
        help="number of actors (default: as many as the cluster has resources for)")
    # fmt: on
    return parser
