"""The clip again, with its answers drawn below the picture."""

import argparse
from pathlib import Path

from tqdm import tqdm

from clients.commands import answers
from clients.output.video import render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    answers.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="mp4 or mkv to write")


def run(arguments: argparse.Namespace) -> int:
    """Asks and draws; returns the exit status."""
    if arguments.out.exists() and arguments.out.samefile(arguments.clip):
        raise ValueError("--out is the clip itself")
    result = answers.answer_of(arguments)
    with tqdm(total=100, unit="%", desc=arguments.out.name, disable=None) as bar:

        def show(share: float) -> None:
            bar.update(round(100 * share) - bar.n)

        render(arguments.clip, result, arguments.out, progress=show)
    return 0
