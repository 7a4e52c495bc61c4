"""Options of `python -m model.train --learn`, and those it shares with `compare`."""

import argparse
from pathlib import Path

from extract.contract import Color
from extract.encoders.load import SPEC_HELP, add_encoder_options
from model.train.new_skill.skill import METHODS, Method
from weights import SHIPPED_BUNDLE
from weights.storage.folders import Place, as_place


class LabelOptions(argparse.Namespace):
    """Flags that say where labels, videos and features are; see `add_label_arguments`."""

    task: Path
    labels: Path
    fps: float | None
    videos: Path | None
    features: Place | None
    bundle: Place
    encoder: str | None
    weights: Path
    color: Color | None
    accept_license: bool
    work: Path | None
    workers: int
    seed: int


class LearnOptions(LabelOptions):
    """Flags of `python -m model.train --learn`."""

    out: Path | None
    method: Method
    fraction: float
    no_backpack: bool


def add_label_arguments(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Adds the flags of `LabelOptions`, task and seed aside; `many` takes several labels files."""
    about = (
        "CSV file: video, start_s, end_s, label (or time_s) and, optionally, split; or another "
        "tool's export, label-studio:FILE or cvat:PLACE"
    )
    if many:
        parser.add_argument(
            "--labels",
            type=Path,
            required=True,
            action="append",
            dest="all_labels",
            help=f"{about}; once for each task, in their order",
        )
    else:
        parser.add_argument("--labels", type=Path, required=True, help=about)
    parser.add_argument(
        "--fps",
        type=float,
        help="frames a second of the videos, for an export of label-studio that counts in frames",
    )
    parser.add_argument(
        "--videos", type=Path, help="folder of the videos that the labels name, or one above it"
    )
    parser.add_argument(
        "--features",
        type=as_place,
        help="folder or URL of features; missing ones are extracted (default: WORK/features)",
    )
    parser.add_argument(
        "--bundle",
        type=as_place,
        default=SHIPPED_BUNDLE,
        help="folder or URL of the bundle to learn on (default: the shipped one)",
    )
    parser.add_argument("--encoder", help=f"for a bundle without an encoder: {SPEC_HELP}")
    add_encoder_options(parser)
    parser.add_argument(
        "--work", type=Path, help="folder of features and checkpoints (default: work/NAME)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        help="threads of the feature extraction (default: %(default)s)",
    )


def fraction_of(text: str) -> float:
    """Parses a share above 0 and at most 1, for argparse."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected more than 0, at most 1, got {text}")
    return value


def parse_options(argv: list[str]) -> LearnOptions:
    """Parses the options of `--learn`; exits where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m model.train --learn TASK.toml",
        description="Trains a user-defined task on a bundle with its backpack and writes the "
        "bundle with one more skill; see docs/new-skill.md.",
    )
    parser.add_argument(
        "--learn", type=Path, required=True, metavar="TASK.toml", dest="task", help="the task file"
    )
    add_label_arguments(parser)
    parser.add_argument("--out", type=Path, help="folder of the new bundle (default: WORK/bundle)")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="auto: voters on features, perspectives and prototypes, weighed by cross-validation; "
        "head: a plain logistic head; egopack: the paper's interaction with the backpack, trained "
        "by gradients. Tasks of kind localise and forecast are always trained by gradients, with "
        "the backpack or, for head, without (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="for all random generators (default: %(default)s)"
    )
    parser.add_argument(
        "--fraction",
        type=fraction_of,
        default=1.0,
        help="share of the training labels to use (default: %(default)s)",
    )
    parser.add_argument(
        "--no-backpack",
        action="store_true",
        help="learns without the backpack: the plain head; with --method egopack, the task's own "
        "head by gradients (fine-tuning)",
    )
    return parser.parse_args(argv, LearnOptions())
