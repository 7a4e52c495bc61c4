"""Command-line options of `python -m extract`, and the encoder they name."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from extract.contract import Color
from extract.decode.clip import ReaderChoice
from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import SPEC_HELP, add_encoder_options, load_named_encoder
from extract.encoders.torch_encoder import TorchEncoder
from extract.errors import RuntimeUnavailable
from extract.runtime.choose import (
    ExecutionName,
    PrecisionName,
    Runtime,
    RuntimeName,
    choose_encoder,
)
from extract.runtime.onnx_export import export_encoder, is_exportable
from extract.runtime.precision import cast
from weights.storage.folders import Place, as_place

logger = logging.getLogger(__name__)

EngineName = Literal["local", "ray"]

SUFFIXES = {"safetensors": ".safetensors", "pt": ".pt"}
"""File format -> suffix."""


class Options(argparse.Namespace):
    """Options of one run; the help texts of `parse_options` describe them."""

    videos: list[Path]
    out: Place
    format: Literal["safetensors", "pt"]
    half: bool
    encoder: str
    weights: Path
    color: Color | None
    accept_license: bool
    device: str
    runtime: RuntimeName
    precision: PrecisionName
    execution: ExecutionName
    batch_windows: int
    reader: ReaderChoice
    video_track: int | None
    stereo: Literal["auto", "always", "never"]
    workers: int | None
    shard: tuple[int, int]
    skip_failed: bool
    dry_run: bool
    engine: EngineName
    address: str | None
    actors: int | None

    def load_encoder(self) -> VideoEncoder:
        """Returns the encoder on its device and in its runtime.

        Raises:
            WeightsError: it is not there, or not what it was.
            RuntimeUnavailable: its runtime is not there.
            ValueError: the name or folder holds no encoder.
        """
        encoder, device = self._named_encoder(), self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        runtime = Runtime(self.runtime, precision=self.precision, execution=self.execution)
        needs_graph = runtime.name != "torch" and runtime.is_plain and is_exportable(encoder)
        graph = self._export(encoder) if needs_graph else b""
        return choose_encoder(encoder.to(device), graph, runtime)[0]

    def describe_encoder(self) -> VideoEncoder:
        """Returns an encoder with the fingerprint of `load_encoder`'s, on the CPU, not to be run.

        Raises:
            WeightsError: it is not there, or not what it was.
            ValueError: the name or folder holds no encoder.
        """
        encoder = self._named_encoder()
        trunk = cast(encoder.trunk, self.precision)
        return TorchEncoder(encoder.name, encoder.config, encoder.contract, trunk, encoder.origin)

    def _export(self, encoder: TorchEncoder) -> bytes:
        """Returns the encoder's graph; where none can be made, nothing if torch may run it.

        Raises:
            RuntimeUnavailable: none can be made, and ONNX Runtime is asked for.
        """
        try:
            return export_encoder(encoder)
        except (ValueError, ArithmeticError) as error:
            if self.runtime == "onnx":
                raise RuntimeUnavailable(str(error)) from error
            logger.warning("%s; torch runs it", error)
            return b""

    def _named_encoder(self) -> TorchEncoder:
        return load_named_encoder(
            self.encoder,
            weights=self.weights,
            color=self.color,
            accept_license=self.accept_license,
        )


def parse_options(arguments: Sequence[str] | None, about: str) -> Options:
    """Returns the options; wrong ones end the process with status 2.

    Args:
        arguments: the command line's if None.
        about: first part of `--help`.
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
        "line; the Ego4D client's manifest.csv or ego4d.json. A video that a list names and that "
        "is not there fails; give the folder to extract only videos that are there. Files of the "
        "same name get ids made of their paths",
    )
    _add_results(parser)
    _add_encoding(parser)
    _add_work(parser)
    _add_engine(parser)
    options = parser.parse_args(arguments, namespace=Options())
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
        help="folder of the features, local or such as s3://bucket/features (required)",
    )
    parser.add_argument(
        "--format",
        choices=sorted(SUFFIXES),
        default="safetensors",
        help="file format of the features; pt: a bare tensor, as in the Ego4D release "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--half", action="store_true", help="store float16; needs --format pt (default: float32)"
    )


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help=f"{SPEC_HELP} (required)")
    add_encoder_options(parser)
    parser.add_argument(
        "--device", default="auto", help="device of the encoder: cpu, cuda, cuda:1 (default: auto)"
    )
    parser.add_argument(
        "--runtime",
        choices=get_args(RuntimeName),
        default="torch",
        help="runtime of the encoder; auto measures which is faster, and stored features then "
        "depend on the machine to rounding (default: torch)",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(PrecisionName),
        default="fp32",
        help="precision of the network, checked against fp32; features of another precision have "
        "a fingerprint of their own; fp8 is in the products of a video Swin's later stages, the "
        "rest in bf16 (default: %(default)s)",
    )
    parser.add_argument(
        "--execution",
        choices=get_args(ExecutionName),
        default="eager",
        help="execution of the network in torch: eager, in Triton's kernels (video Swin), "
        "compiled, as CUDA graphs; auto measures whether kernels and graphs are faster "
        "(default: eager)",
    )
    parser.add_argument(
        "--batch-windows",
        type=_positive,
        default=16,
        help="windows in one call of the encoder (default: %(default)s)",
    )
    parser.add_argument(
        "--reader",
        choices=get_args(ReaderChoice),
        default="auto",
        help="decoder of the videos; auto: PyAV, whose pixels are decord's in less time and "
        "memory; decord: refuse files that it may read wrong; nvdec: decode on an NVIDIA GPU "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--video-track",
        type=_track,
        metavar="N",
        help="video track to read, counted from 0 (default: the first that the file marks as "
        "default, covers aside)",
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
        help="videos decoded at once (default: one less than the cores, at most 16)",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="extract part I of N only, from 1/N to N/N: one for each machine; all may share a "
        "folder (default: 1/1)",
    )
    parser.add_argument(
        "--skip-failed",
        action="store_true",
        help="skip videos that failed in the previous run; they count as failed (default: retry)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the videos to extract and stop"
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("execution engine")
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
        help="address of the Ray cluster; auto: the one this machine is part of (default: start "
        "one of this machine alone, and end it)",
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
