"""What to ask about a clip, as flags and as arguments of a call."""

import argparse
from pathlib import Path
from typing import Any

from clients.api.requests import Choices, without_none


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds the clip, or its features in its place."""
    parser.add_argument("clip", type=Path, nargs="?", help="video to send")
    parser.add_argument(
        "--features",
        type=Path,
        metavar="FILE",
        help="what `features` wrote, in the clip's place: nothing is decoded again",
    )


def source_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the clip, or its features, as arguments of a call.

    Raises:
        ValueError: both, or neither.
    """
    if (arguments.clip is None) == (arguments.features is None):
        raise ValueError("give a clip or --features FILE, one of the two")
    return without_none({"clip": arguments.clip, "features": arguments.features})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument(
        "--task",
        action="append",
        help="ar, lta, oscc, pnr or a skill of the bundle's own; repeat it; default: all",
    )
    add_segments(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="of the sampled futures")


def add_segments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that searches have too."""
    parser.add_argument(
        "--segment",
        action="append",
        nargs=2,
        type=float,
        metavar=("START_S", "END_S"),
        help="a stretch to answer for; repeat it; default: the clip cut evenly",
    )
    parser.add_argument(
        "--segment-s", type=float, metavar="SECONDS", help="length of those even cuts"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="entries in each ranked list")
    parser.add_argument(
        "--video-track",
        type=int,
        metavar="N",
        help="which of the file's video tracks to read, counted from 0; default: the one that the "
        "file marks as default",
    )


def choices_of(arguments: argparse.Namespace) -> Choices:
    """Returns the keyword arguments of `EgoPackClient.predict`."""
    return {
        "tasks": arguments.task,
        "segments": arguments.segment,
        "segment_s": arguments.segment_s,
        "top_k": arguments.top_k,
        "seed": arguments.seed,
        "video_track": arguments.video_track,
    }
