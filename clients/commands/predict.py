"""Answers about one clip, to read or as JSON."""

import argparse
import dataclasses
import json
from pathlib import Path

from clients.commands import arguments as choices
from clients.commands import bars, connection
from clients.output.text import Truth, describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    choices.add_source(parser)
    connection.add_arguments(parser)
    choices.add_arguments(parser)
    parser.add_argument("--truth", type=Path, help="truth.json to print beside the answers")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Asks and prints; returns the exit status."""
    source = choices.source_of(arguments)
    truth = None if arguments.truth is None else Truth.from_file(arguments.truth)
    wanted = choices.choices_of(arguments)
    if truth is not None:
        wanted["segments"] = wanted.get("segments") or truth.segments
    with (
        connection.connect(arguments) as client,
        bars.sending(arguments.clip or arguments.features) as progress,
    ):
        result = client.predict(**source, **wanted, progress=progress)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(result), indent=1))
    else:
        print(describe(result, truth))
    return 0
