"""Sub-command `features`: a clip's features as a safetensors file, to send in its place."""

import argparse
from pathlib import Path

from clients.commands import arguments
from clients.output.files import write_whole


class Options(arguments.ServerOptions):
    """Parsed flags."""

    clip: Path
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument("clip", type=Path, help="video file to send")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    arguments.add_server(parser)


def run(options: Options) -> int:
    """Sends the clip and writes its features; returns the exit status."""
    with arguments.connect(options.url) as client, arguments.upload_bar(options.clip) as progress:
        track = client.features(options.clip, progress=progress)
    write_whole(options.out, track)
    return 0
