"""Sub-command `export`: the answer about a clip in another tool's format."""

import argparse
import json
import sys
from pathlib import Path

from clients.commands import arguments
from clients.output import formats
from clients.output.files import write_whole
from clients.output.parquet import to_parquet


class Options(arguments.AnswerOptions):
    """Parsed flags."""

    format: str
    out: Path | None
    name: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument(
        "format",
        choices=[*formats.FORMATS, "parquet", "label-studio-config"],
        help="format to write",
    )
    arguments.add_answer(parser)
    parser.add_argument("--out", type=Path, help="file to write; default: standard output")
    parser.add_argument(
        "--name", help="path or URL by which the other tool finds the clip; default: CLIP"
    )


def run(options: Options) -> int:
    """Writes the answer; returns the exit status."""
    if options.format == "parquet" and options.out is None:
        raise ValueError("parquet is no text: name a file with --out")
    result = arguments.answer_of(options)
    if options.format == "parquet" and options.out is not None:
        name = str(options.clip) if options.name is None else options.name
        write_whole(options.out, to_parquet([(name, result)]))
        return 0
    if options.format == "label-studio-config":
        made: object = formats.label_studio_config(result) + "\n"
    else:
        name = str(options.clip) if options.name is None else options.name
        made = formats.FORMATS[options.format](result, name)
    text = made if isinstance(made, str) else json.dumps(made, indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text.encode(errors="backslashreplace").decode())  # as `write_whole` does
    else:
        write_whole(options.out, text)
    return 0
