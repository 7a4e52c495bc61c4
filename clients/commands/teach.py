"""Sub-command `teach`: a skill of one's own from labelled videos, on the server."""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from clients.api.requests import UploadProgress
from clients.commands import arguments
from clients.results.predictions import Progress
from clients.results.skills import Report


class Options(arguments.ServerOptions):
    """Parsed flags."""

    task: Path
    labels: Path
    videos: Path | None
    activate: bool
    threshold: float | None
    none: str | None
    method: str | None
    seed: int | None
    timeout_s: float | None
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument("task", type=Path, metavar="TASK.toml", help="the task file")
    parser.add_argument(
        "labels",
        type=Path,
        metavar="LABELS.csv",
        help="video, start_s, end_s, label and, if wanted, split",
    )
    parser.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="folder of the videos, or one above it; those that are kept are not sent again",
    )
    parser.add_argument("--activate", action="store_true", help="serve the skill once it is learnt")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="with --activate: least probability of an answer that is certain",
    )
    parser.add_argument(
        "--none", metavar="LABEL", help="the label of segments that are none of the others"
    )
    parser.add_argument(
        "--method",
        choices=("auto", "head"),
        help="voters weighed by cross-validation, or the plain head; default: the server's, auto",
    )
    parser.add_argument("--seed", type=int, help="of all random generators; default: the server's")
    parser.add_argument(
        "--timeout-s",
        type=float,
        metavar="SECONDS",
        help="longest time to wait for the job; default: no limit",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments.add_server(parser)


def run(options: Options) -> int:
    """Teaches the skill and prints how far to trust it; returns the exit status."""
    if options.threshold is not None and not options.activate:
        raise ValueError("--threshold: of answers that are served; it needs --activate")
    with arguments.connect(options.url) as client, _Bars() as bars:
        report = client.teach(
            options.task,
            options.labels,
            videos=options.videos,
            none_label=options.none,
            method=options.method,
            seed=options.seed,
            activate=options.activate,
            threshold=options.threshold,
            timeout_s=options.timeout_s,
            on_clip=bars.on_clip,
            on_progress=bars.on_progress,
        )
    if options.json:
        print(json.dumps(dataclasses.asdict(report), indent=1))
    else:
        print("\n".join(_lines(report, is_served=options.activate)))
    return 0


class _Bars(ExitStack):
    """A bar for each clip that is sent, then one of the job's stages, on a terminal."""

    def on_clip(self, path: Path, place: int, count: int) -> UploadProgress:
        self.close()
        self.enter_context(tqdm(desc=f"clip {place + 1} of {count}", total=0, disable=None))
        return self.enter_context(arguments.upload_bar(path))

    def on_progress(self, progress: Progress) -> None:
        self.close()
        self.enter_context(tqdm(desc=progress.reason or progress.stage, total=0, disable=None))


def _lines(report: Report, *, is_served: bool) -> Iterator[str]:
    counts = ", ".join(f"{label} {count}" for label, count in report.count.items())
    total = sum(report.count.values())
    yield f"{report.name}, version {report.version}, from {total} labels: {counts}"
    yield report.words
    if report.forecast is not None:
        then = report.forecast
        yield (
            f"With {then.labels} labels it would likely be right in {then.accuracy:.3f} "
            f"[{then.low:.3f}, {then.high:.3f}]."
        )
    if report.none is not None:
        none = report.none
        yield (
            f"{none['label']}: {none['right']} of {none['held_out']} are found; {none['mistaken']} "
            f"of {none['others']} others are taken for it."
        )
    yield "voters: " + ", ".join(f"{v.name} {v.weight:.2f}" for v in report.voters)
    yield from report.notes
    if is_served:
        yield f"It is served: ask with --task {report.name}."
    else:
        yield "It is not served yet; --activate, or EgoPackClient.activate, does that."
