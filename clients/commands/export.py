"""The answer about a clip in another tool's format."""

import argparse
import json
import sys
from pathlib import Path

from clients.commands import answers
from clients.output import formats as exports
from clients.output.files import write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    parser.add_argument("format", choices=[*exports.FORMATS, "label-studio-config"])
    answers.add_arguments(parser)
    parser.add_argument("--out", type=Path, help="file to write; default: standard output")
    parser.add_argument(
        "--name", help="what the other tool calls the clip: a path or address; default: CLIP"
    )


def run(arguments: argparse.Namespace) -> int:
    """Asks and writes; returns the exit status."""
    result = answers.answer_of(arguments)
    if arguments.format == "label-studio-config":
        made: object = exports.label_studio_config(result) + "\n"
    else:
        name = str(arguments.clip) if arguments.name is None else arguments.name
        made = exports.FORMATS[arguments.format](result, name)
    text = made if isinstance(made, str) else json.dumps(made, indent=1) + "\n"
    if arguments.out is None:
        sys.stdout.write(text.encode(errors="backslashreplace").decode())  # as `write_whole` does
    else:
        write_whole(arguments.out, text)
    return 0
