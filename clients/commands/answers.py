"""An answer that was kept, or a fresh one."""

import argparse
import json
from pathlib import Path

from clients.commands import arguments as choices
from clients.commands import connection
from clients.errors import ServerFault
from clients.results.predictions import PredictionResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the clip, and where its answer comes from."""
    parser.add_argument("clip", type=Path, help="video to ask about")
    parser.add_argument(
        "--answer",
        type=Path,
        help="JSON that `predict --json` printed; default: the server is asked",
    )
    connection.add_arguments(parser)
    choices.add_arguments(parser)


def answer_of(arguments: argparse.Namespace) -> PredictionResult:
    """Returns the answer about the clip.

    Raises:
        ClientError: the server does not answer.
        OSError: a file cannot be read.
        ValueError: the kept answer is none.
    """
    if arguments.answer is not None:
        try:
            return PredictionResult.from_dict(json.loads(arguments.answer.read_bytes()))
        except (ValueError, ServerFault) as error:
            raise ValueError(f"{arguments.answer} holds no answer: {error}") from error
    with connection.connect(arguments) as client:
        return client.predict(arguments.clip, **choices.choices_of(arguments))
