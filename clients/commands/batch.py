"""Sub-command `batch`: many clips, a few at a time; run again, it continues."""

import argparse
import asyncio
import sys
from pathlib import Path

from tqdm import tqdm

from clients.api.requests import Choices, without_none
from clients.batch import MAX_RETRIES, BatchFolder, BatchRunner, find_clips
from clients.commands import arguments
from clients.errors import ServerFault
from clients.output.files import write_whole
from clients.output.parquet import pyarrow, to_parquet

EXIT_SOME_FAILED = 3


class Options(arguments.ClipOptions):
    """Parsed flags."""

    paths: list[Path]
    out: Path
    concurrency: int
    retry_failed: bool
    parquet: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE", help="clips to send")
    what = "folder of results.jsonl and an answer a clip"
    parser.add_argument("--out", type=Path, required=True, help=what)
    what = "requests at once; default: %(default)s"
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help=what)
    what = "send again the clips that failed"
    parser.add_argument("--retry-failed", action="store_true", help=what)
    what = "write results.parquet, too: a row an answer (the extra `parquet`)"
    parser.add_argument("--parquet", action="store_true", help=what)
    arguments.add_server(parser)
    arguments.add_choices(parser)


def run(options: Options) -> int:
    """Sends every clip that has no outcome yet.

    Returns the exit status: 3 if some clips have no answer; see results.jsonl for why.
    """
    if options.concurrency < 1:
        raise ValueError("--concurrency is at least 1")
    if options.parquet:
        pyarrow()  # missing: said before anything is sent
    clips = find_clips(options.paths)
    folder = BatchFolder(options.out)
    wanted = arguments.choices_of(options)
    try:
        asyncio.run(_run(options, clips, folder, wanted))
    finally:
        if folder.run_id:
            answered, failed = folder.write_rows(clips)
            if options.parquet:
                write_whole(options.out / "results.parquet", to_parquet(folder.answers(clips)))
            print(
                f"{answered} of {len(clips)} clips answered, {failed} failed: "
                f"{options.out / 'results.jsonl'}",
                file=sys.stderr,
            )
    return EXIT_SOME_FAILED if failed else 0


async def _run(
    options: Options, clips: dict[str, Path], folder: BatchFolder, wanted: Choices
) -> None:
    async with arguments.connect_async(options.url, max_retries=MAX_RETRIES) as client:
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
            and (options.retry_failed or not folder.has_error(name, clip))
        }
        done = len(clips) - len(left)
        with tqdm(total=len(clips), initial=done, unit="clip", disable=None) as bar:
            counts = {True: 0, False: 0}

            def show(is_answered: bool) -> None:
                counts[is_answered] += 1
                bar.set_postfix(failed=counts[False], refresh=False)
                bar.update()

            runner = BatchRunner(client, folder, wanted, served.sha256, show)
            await runner.run(left, concurrency=options.concurrency)
