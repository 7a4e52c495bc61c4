"""What `python -m extract` can be told."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from extract.decode.clip import ReaderChoice
from extract.named import SPEC_HELP, add_encoder_options
from extract.runtime.choose import PrecisionName, RuntimeName
from extract.runtime.compiled import ExecutionMode
from weights.storage.folders import as_place

EngineName = Literal["local", "ray"]

SUFFIXES = {"safetensors": ".safetensors", "pt": ".pt"}
"""Format of the files -> their ending."""


def parse_options(arguments: Sequence[str] | None, about: str) -> argparse.Namespace:
    """Returns the options; wrong ones end the process with status 2.

    Args:
        arguments: the command line's if None.
        about: what `--help` begins with.
    """
    parser = argparse.ArgumentParser(
        prog="python -m extract",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="VIDEO|DIR|LIST",
        help="LIST: a CSV with columns id,path[,num_frames][,is_stereo]; a .txt with a path a "
        "line; the Ego4D client's manifest.csv or ego4d.json. What a list names and is not there "
        "fails; give the folder to take what is there. Files of one name have ids of their paths",
    )
    _add_results(parser)
    _add_encoding(parser)
    _add_work(parser)
    _add_engine(parser)
    options = parser.parse_args(arguments)
    if options.half and options.format != "pt":
        parser.error("--half needs --format pt")
    if options.engine == "local" and (options.address or options.actors):
        parser.error("--address and --actors need --engine ray")
    if options.engine == "ray" and options.device.startswith("cuda:"):
        parser.error("--engine ray gives each actor a GPU of its own: --device cuda")
    return options


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        required=True,
        type=as_place,
        metavar="DIR|URL",
        help="folder of the features, here or such as s3://bucket/features",
    )
    parser.add_argument(
        "--format",
        choices=sorted(SUFFIXES),
        default="safetensors",
        help="pt: a bare tensor, as the Ego4D release has it (default: %(default)s)",
    )
    parser.add_argument("--half", action="store_true", help="store float16; with --format pt")


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help=SPEC_HELP)
    add_encoder_options(parser)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument(
        "--runtime",
        choices=get_args(RuntimeName),
        default="torch",
        help="of the encoder; auto measures, and what is stored then depends on the machine to "
        "rounding (default: torch)",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(PrecisionName),
        default="fp32",
        help="of the network, checked against fp32; features of another precision have a "
        "fingerprint of their own (default: %(default)s)",
    )
    parser.add_argument(
        "--execution",
        choices=get_args(ExecutionMode),
        default="eager",
        help="how torch runs the network: as written, compiled, as CUDA graphs (default: eager)",
    )
    parser.add_argument("--batch-windows", type=_positive, default=16, help="default: %(default)s")
    parser.add_argument(
        "--reader",
        choices=get_args(ReaderChoice),
        default="auto",
        help="auto: PyAV, whose pixels are decord's in less time and memory; decord: "
        "refuse what it may not read; nvdec: decode on an NVIDIA GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--video-track",
        type=_track,
        metavar="N",
        help="which of a file's video tracks to read, counted from 0 (default: the first that the "
        "file marks as default, covers aside)",
    )
    parser.add_argument(
        "--stereo",
        choices=("auto", "always", "never"),
        default="auto",
        help="use the left half of every frame; auto: of videos that a list or ego4d.json calls "
        "stereo (default: %(default)s)",
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_positive,
        help="videos decoded at once (default: a core fewer than there are, at most 16)",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="only part I of N, from 1/N to N/N: one for each machine; all may share a folder",
    )
    parser.add_argument(
        "--skip-failed",
        action="store_true",
        help="leave alone what failed in the run before; it counts as failed",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who does the work")
    group.add_argument(
        "--engine",
        choices=get_args(EngineName),
        default="local",
        help="local: processes of this machine; ray: actors of a Ray cluster, which all see the "
        "same --out, videos and weights under the same paths (default: %(default)s)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="the Ray cluster; auto: the one this machine is part of (default: start one of this "
        "machine alone, and end it)",
    )
    group.add_argument(
        "--actors",
        type=_positive,
        help="encoders at work at once, each with --workers decoding processes of its own, 1 if "
        "not given (default: one per GPU; without GPUs, as many as the cores hold)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _track(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {text!r}")
    return int(index), int(count)
