"""Sub-command `render`: the clip with its answers drawn below the picture."""

import argparse
from pathlib import Path

from tqdm import tqdm

from clients.commands import arguments
from clients.output.video import render


class Options(arguments.AnswerOptions):
    """Parsed flags."""

    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    arguments.add_answer(parser)
    parser.add_argument("--out", type=Path, required=True, help="mp4 or mkv file to write")


def run(options: Options) -> int:
    """Draws the answer; returns the exit status."""
    if options.out.exists() and options.out.samefile(options.clip):
        raise ValueError("--out is the clip itself")
    result = arguments.answer_of(options)
    with tqdm(total=100, unit="%", desc=options.out.name, disable=None) as bar:

        def show(share: float) -> None:
            bar.update(round(100 * share) - bar.n)

        render(options.clip, result, options.out, progress=show)
    return 0
