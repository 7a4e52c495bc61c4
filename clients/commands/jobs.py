"""Sub-command `jobs`: clips that are answered asynchronously: submit, list, wait, fetch, cancel."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from clients.client import EgoPackClient
from clients.commands import arguments
from clients.output.files import write_whole
from clients.output.text import describe
from clients.results.jobs import Job
from clients.results.predictions import PredictionResult, Progress

EXIT_FAILED = 1
STATES = ("queued", "running", "succeeded", "failed", "canceled", "expired")


class Options(arguments.ClipOptions):
    """Parsed flags; those that a command under `jobs` does not have are not set."""

    what: str
    job: str
    state: str | None
    limit: int
    timeout_s: float | None
    out: Path | None
    json: bool
    webhook_url: str | None
    idempotency_key: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands under `jobs` and their flags."""
    commands = parser.add_subparsers(dest="what", required=True)
    for name, (about, _) in WHAT.items():
        one = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name == "submit":
            _add_submit(one)
        elif name == "list":
            one.add_argument("--state", choices=STATES, help="only jobs in this state")
            what = "most jobs to list; default: %(default)s"
            one.add_argument("--limit", type=int, default=50, metavar="N", help=what)
        else:
            one.add_argument("job", help="id that `submit` printed")
        if name == "wait":
            what = "longest time to wait; default: no limit"
            one.add_argument("--timeout-s", type=float, metavar="SECONDS", help=what)
        if name == "result":
            one.add_argument("--out", type=Path, help="JSON file to write; default: print")
        one.add_argument("--json", action="store_true", help="print JSON")
        arguments.add_server(one)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    arguments.add_source(parser)
    arguments.add_choices(parser)
    parser.add_argument("--webhook-url", metavar="URL", help="address to call at the job's end")
    what = "the same key and clip give the same job; default: a new key"
    parser.add_argument("--idempotency-key", metavar="KEY", help=what)


def run(options: Options) -> int:
    """Carries out a command; returns the exit status: 1 for a job that did not succeed."""
    with arguments.connect(options.url) as client:
        return WHAT[options.what][1](client, options)


def _submit(client: EgoPackClient, options: Options) -> int:
    source, wanted = arguments.source_of(options), arguments.choices_of(options)
    with arguments.upload_bar(options.clip or options.features) as progress:
        job = client.submit(
            **source,
            **wanted,
            progress=progress,
            webhook_url=options.webhook_url,
            idempotency_key=options.idempotency_key,
        )
    print(_as_json(job) if options.json else job.id)
    return 0


def _list(client: EgoPackClient, options: Options) -> int:
    page_size = max(1, min(options.limit, 100))
    jobs = islice(client.jobs(state=options.state, page_size=page_size), options.limit)
    for job in jobs:
        print(_as_json(job, indent=None) if options.json else _line(job), flush=True)
    return 0


def _show(client: EgoPackClient, options: Options) -> int:
    return _print(client.job(options.job), options)


def _cancel(client: EgoPackClient, options: Options) -> int:
    _print(client.cancel(options.job), options)
    return 0


def _wait(client: EgoPackClient, options: Options) -> int:
    with tqdm(desc=options.job[:8], unit="window", disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.windows_total or None
            bar.set_postfix_str(progress.reason or progress.stage)
            bar.update(progress.windows_done - bar.n)

        job = client.wait(options.job, timeout_s=options.timeout_s, on_progress=show)
    status = _print(job, options)
    return status if job.state == "succeeded" else EXIT_FAILED


def _result(client: EgoPackClient, options: Options) -> int:
    result: PredictionResult = client.result(options.job)
    text = json.dumps(dataclasses.asdict(result), indent=1)
    if options.out is not None:
        write_whole(options.out, text + "\n")
    else:
        print(text if options.json else describe(result))
    return 0


def _print(job: Job, options: Options) -> int:
    print(_as_json(job) if options.json else _line(job))
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


WHAT: dict[str, tuple[str, Callable[[EgoPackClient, Options], int]]] = {
    "submit": ("send a clip, print the job's id and return at once", _submit),
    "list": ("the caller's jobs, the newest first", _list),
    "show": ("state and progress of a job", _show),
    "wait": ("wait for a job to end, however often the connection drops", _wait),
    "result": ("the answers of a job", _result),
    "cancel": ("cancel a job unless it has ended", _cancel),
}
