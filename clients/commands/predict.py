"""Sub-command `predict`: the answers about one clip, as text or JSON."""

import argparse
import dataclasses
import json
from pathlib import Path

from clients.commands import arguments
from clients.output.text import Truth, describe


class Options(arguments.ClipOptions):
    """Parsed flags."""

    truth: Path | None
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    arguments.add_source(parser)
    arguments.add_server(parser)
    arguments.add_choices(parser)
    parser.add_argument("--truth", type=Path, help="truth.json to print beside the answers")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(options: Options) -> int:
    """Sends the clip and prints the answers; returns the exit status."""
    source = arguments.source_of(options)
    truth = None if options.truth is None else Truth.from_file(options.truth)
    wanted = arguments.choices_of(options)
    if truth is not None:
        wanted["segments"] = wanted.get("segments") or truth.segments
    with (
        arguments.connect(options.url) as client,
        arguments.upload_bar(options.clip or options.features) as progress,
    ):
        result = client.predict(**source, **wanted, progress=progress)
    if options.json:
        print(json.dumps(dataclasses.asdict(result), indent=1))
    else:
        print(describe(result, truth))
    return 0
