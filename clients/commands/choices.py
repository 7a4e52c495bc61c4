"""What to ask about a clip, as flags and as arguments of a call."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument(
        "--task",
        action="append",
        help="ar, lta, oscc, pnr or a skill of the bundle's own; repeat it; default: all",
    )
    parser.add_argument(
        "--segment",
        action="append",
        nargs=2,
        type=float,
        metavar=("START_S", "END_S"),
        help="a stretch to answer for; repeat it; default: the clip cut evenly",
    )
    parser.add_argument("--top-k", type=int, help="labels in each ranked list")
    parser.add_argument("--seed", type=int, help="of the sampled futures")


def choices_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the keyword arguments of `EgoPackClient.predict`."""
    return {
        "tasks": arguments.task,
        "segments": arguments.segment,
        "top_k": arguments.top_k,
        "seed": arguments.seed,
    }
