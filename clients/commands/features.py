"""A clip's features as a safetensors file, to ask with as often as one likes."""

import argparse
from pathlib import Path

from clients.commands import bars, connection
from clients.output.files import write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    parser.add_argument("clip", type=Path, help="video to send")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks and writes; returns the exit status."""
    with connection.connect(arguments) as client, bars.sending(arguments.clip) as progress:
        track = client.features(arguments.clip, progress=progress)
    write_whole(arguments.out, track)
    return 0
