"""Many clips through a server; run it again to go on after a break."""

import argparse
import asyncio
import sys
from pathlib import Path

from tqdm import tqdm

from clients.api.requests import Choices, without_none
from clients.batch.clips import find_clips
from clients.batch.folder import BatchFolder
from clients.batch.runner import MAX_RETRIES, BatchRunner
from clients.commands import arguments as choices
from clients.commands import connection
from clients.errors import ServerFault

EXIT_SOME_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE", help="clips")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of results.jsonl and an answer a clip"
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=4,
        metavar="N",
        help="clips at once; default: %(default)s",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="ask again about clips that had no answer"
    )
    connection.add_arguments(parser)
    choices.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks about every clip that has no outcome yet.

    Returns the exit status: 3 if some clips have no answer; see results.jsonl for why.
    """
    if arguments.concurrency < 1:
        raise ValueError("--concurrency is at least 1")
    clips = find_clips(arguments.paths)
    folder = BatchFolder(arguments.out)
    wanted = choices.choices_of(arguments)
    try:
        asyncio.run(_ask(arguments, clips, folder, wanted))
    finally:
        if folder.run_id:
            answered, failed = folder.write_rows(clips)
            print(
                f"{answered} of {len(clips)} clips answered, {failed} failed: "
                f"{arguments.out / 'results.jsonl'}",
                file=sys.stderr,
            )
    return EXIT_SOME_FAILED if failed else 0


async def _ask(
    arguments: argparse.Namespace, clips: dict[str, Path], folder: BatchFolder, wanted: Choices
) -> None:
    async with connection.connect_async(arguments, max_retries=MAX_RETRIES) as client:
        models = await client.models()
        if not models:
            raise ServerFault("the server serves no model")
        served = models[0]
        identity = {"name": served.name, "version": served.version, "sha256": served.sha256}
        folder.begin(identity, without_none(wanted))
        left = {
            name: clip
            for name, clip in clips.items()
            if not folder.has_answer(name, clip)
            and (arguments.retry_failed or not folder.has_error(name, clip))
        }
        done = len(clips) - len(left)
        with tqdm(total=len(clips), initial=done, unit="clip", disable=None) as bar:
            counts = {True: 0, False: 0}

            def show(is_answered: bool) -> None:
                counts[is_answered] += 1
                bar.set_postfix(failed=counts[False], refresh=False)
                bar.update()

            runner = BatchRunner(client, folder, wanted, sha256=served.sha256, on_done=show)
            await runner.run(left, concurrency=arguments.concurrency)
