"""What `python -m model.score` can be told."""

import argparse
from pathlib import Path
from typing import get_args

import torch

from model.data.annotations import VERSIONS
from model.evaluate.options import add_future_temperature
from model.score.features import MissingAnswers
from model.score.test_set import CHALLENGES, FIRST_OBSERVED
from weights.storage.folders import as_place


def parse_options(argv: list[str] | None, about: str | None) -> argparse.Namespace:
    """Returns the options; wrong ones end the process with status 2.

    Args:
        argv: the command line's if None.
        about: what `--help` begins with.
    """
    parser = argparse.ArgumentParser(
        prog="python -m model.score",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--annotations", type=Path, required=True, help="folder of the JSON files, or data root"
    )
    parser.add_argument(
        "--version",
        choices=VERSIONS,
        help="of the annotations below a root (default: v1 where it is there, else v2)",
    )
    parser.add_argument("--bundle", type=as_place, help="folder or URL")
    parser.add_argument(
        "--features", type=as_place, help="folder or URL of <video_uid>.pt or .safetensors"
    )
    parser.add_argument(
        "--videos",
        type=Path,
        help="folder of <video_uid>.mp4, or the root the Ego4D client filled: features that are "
        "missing are made with the bundle's encoder (default: none are)",
    )
    parser.add_argument(
        "--missing",
        choices=get_args(MissingAnswers),
        default="refuse",
        help="questions about videos without features: refuse to write anything, fill in what "
        "training saw most, or skip them (%(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder of the challenge files")
    parser.add_argument(
        "--tasks", type=lambda text: text.split(","), default=list(CHALLENGES), metavar="lta,..."
    )
    parser.add_argument("--seed", type=int, default=0, help="of LTA's sampled futures")
    add_future_temperature(parser)
    parser.add_argument(
        "--observed",
        type=int,
        default=FIRST_OBSERVED,
        help=f"actions behind LTA's first window of a clip ({FIRST_OBSERVED}); fewer ask for more",
    )
    parser.add_argument("--batch-size", type=int, default=64, help="graphs at once (64)")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda"
    )
    parser.add_argument("--check", type=Path, nargs="+", metavar="FILE", help="check these instead")
    parser.add_argument("--truth", type=Path, help="root that has hidden/: score as well")
    _add_engine(parser)
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.tasks) - set(CHALLENGES):
        parser.error(f"no challenge for {', '.join(sorted(unknown))}: {', '.join(CHALLENGES)}")
    if min(arguments.observed, arguments.batch_size) < 1:
        parser.error("--observed and --batch-size are at least 1")
    if arguments.actors is not None and arguments.actors < 1:
        parser.error("--actors is at least 1")
    if arguments.engine == "local" and (arguments.address or arguments.actors):
        parser.error("--address and --actors need --engine ray")
    absent = [n for n in ("bundle", "features", "out") if getattr(arguments, n) is None]
    if not arguments.check and absent:
        parser.error(f"needs --{', --'.join(absent)}, or --check FILE")
    return arguments


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who does the work")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: actors of a Ray cluster, which see bundle and features under the same paths",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="the Ray cluster; auto: the one this machine is part of (default: start one of this "
        "machine alone, and end it)",
    )
    group.add_argument("--actors", type=int, help="at once (default: as many as there is room for)")
