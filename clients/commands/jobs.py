"""Clips that are answered later: send them, see how they stand, wait, fetch, cancel."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from clients.client import EgoPackClient
from clients.commands import arguments as choices
from clients.commands import bars, connection
from clients.output.files import write_whole
from clients.output.text import describe
from clients.results.jobs import Job
from clients.results.predictions import PredictionResult, Progress

EXIT_FAILED = 1
STATES = ("queued", "running", "succeeded", "failed", "canceled", "expired")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what can be done with jobs."""
    commands = parser.add_subparsers(dest="what", required=True)
    for name, (about, _) in WHAT.items():
        one = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name == "submit":
            _add_submit(one)
        elif name == "list":
            one.add_argument("--state", choices=STATES, help="only jobs in this state")
            one.add_argument("--limit", type=int, default=50, metavar="N", help="most jobs to list")
        else:
            one.add_argument("job", help="id that `submit` printed")
        if name == "wait":
            what = "give up after so long; default: never"
            one.add_argument("--timeout-s", type=float, metavar="SECONDS", help=what)
        if name == "result":
            one.add_argument("--out", type=Path, help="JSON file to write")
        one.add_argument("--json", action="store_true", help="print JSON")
        connection.add_arguments(one)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    choices.add_source(parser)
    choices.add_arguments(parser)
    parser.add_argument("--webhook-url", metavar="URL", help="who is told of the end")
    parser.add_argument("--idempotency-key", metavar="KEY", help="the same key makes the same job")


def run(arguments: argparse.Namespace) -> int:
    """Does it and prints; returns the exit status: 1 for a job that did not succeed."""
    with connection.connect(arguments) as client:
        return WHAT[arguments.what][1](client, arguments)


def _submit(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    source, wanted = choices.source_of(arguments), choices.choices_of(arguments)
    with bars.sending(arguments.clip or arguments.features) as progress:
        job = client.submit(
            **source,
            **wanted,
            progress=progress,
            webhook_url=arguments.webhook_url,
            idempotency_key=arguments.idempotency_key,
        )
    print(_as_json(job) if arguments.json else job.id)
    return 0


def _list(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    page_size = max(1, min(arguments.limit, 100))
    jobs = islice(client.jobs(state=arguments.state, page_size=page_size), arguments.limit)
    for job in jobs:
        print(_as_json(job, indent=None) if arguments.json else _line(job), flush=True)
    return 0


def _show(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    return _tell(client.job(arguments.job), arguments)


def _cancel(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    _tell(client.cancel(arguments.job), arguments)
    return 0


def _wait(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    with tqdm(desc=arguments.job[:8], unit="window", disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.windows_total or None
            bar.set_postfix_str(progress.stage)
            bar.update(progress.windows_done - bar.n)

        job = client.wait(arguments.job, timeout_s=arguments.timeout_s, on_progress=show)
    status = _tell(job, arguments)
    return status if job.state == "succeeded" else EXIT_FAILED


def _result(client: EgoPackClient, arguments: argparse.Namespace) -> int:
    result: PredictionResult = client.result(arguments.job)
    text = json.dumps(dataclasses.asdict(result), indent=1)
    if arguments.out is not None:
        write_whole(arguments.out, text + "\n")
    else:
        print(text if arguments.json else describe(result))
    return 0


def _tell(job: Job, arguments: argparse.Namespace) -> int:
    print(_as_json(job) if arguments.json else _line(job))
    return EXIT_FAILED if job.state == "failed" else 0


def _line(job: Job) -> str:
    what = job.state
    if job.error is not None:
        what += f": {job.error.detail} ({job.error.code})"
    elif job.is_live and job.progress is not None and job.progress.windows_total:
        what += f", {job.progress.windows_done} of {job.progress.windows_total} windows"
    return f"{job.id}  {job.created_at}  {job.input.size_bytes / 1e6:8.1f} MB  {what}"


def _as_json(job: Job, indent: int | None = 1) -> str:
    return json.dumps(dataclasses.asdict(job), indent=indent)


WHAT: dict[str, tuple[str, Callable[[EgoPackClient, argparse.Namespace], int]]] = {
    "submit": ("send a clip, print the job's id and return at once", _submit),
    "list": ("the caller's jobs, the newest first", _list),
    "show": ("how a job stands", _show),
    "wait": ("wait for a job to end, however often the connection drops", _wait),
    "result": ("the answers of a job", _result),
    "cancel": ("end a job unless it has ended", _cancel),
}
