"""Sub-command `live`: answers while a camera, a file or a stream goes on."""

import argparse
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

from clients import capture
from clients.api.live import LiveChoices
from clients.api.outgoing import Picture
from clients.api.requests import without_none
from clients.commands import arguments
from clients.output.files import write_whole
from clients.output.live import FORMATS
from clients.output.video import render
from clients.results.live import LiveSummary


class Options(arguments.ServerOptions):
    """Parsed flags."""

    source: str | None
    camera: int | None
    task: list[str] | None
    segment_s: float | None
    every: int | None
    forecast_every: int | None
    top_k: int | None
    rate: float | None
    fast: bool
    format: str
    out: Path | None
    save: Path | None
    draw: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument(
        "source",
        nargs="?",
        help="video file, played as if live; an address such as rtsp://camera/stream; - for a "
        "fragmented MP4, WebM, Matroska or MPEG-TS on standard input. It is opened here: the "
        "server opens no address",
    )
    parser.add_argument("--camera", type=int, metavar="N", help="camera of this machine, from 0")
    arguments.add_server(parser)
    parser.add_argument(
        "--task", action="append", help="task to answer; repeat it for several; default: all"
    )
    parser.add_argument(
        "--segment-s", type=float, metavar="SECONDS", help="length of what is answered, up to now"
    )
    parser.add_argument(
        "--every", type=int, metavar="N", help="answer every N steps of half a second; default: 1"
    )
    parser.add_argument(
        "--forecast-every", type=int, metavar="N", help="forecast every N such steps; 0: never"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="entries in each ranked list")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="FPS",
        help="frames a second of the source, in place of its own times",
    )
    parser.add_argument(
        "--fast", action="store_true", help="send a file as fast as it is answered, not in its time"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text: a line an event; json: a line a message; vtt: subtitles; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, help="file to write, in place of standard output")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="the answers about the whole stream, as JSON"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="FILE", help="the file again with its answers, mp4 or mkv"
    )


def run(options: Options) -> int:
    """Shows answers until the stream ends, or Ctrl-C ends it; returns the exit status."""
    if (options.source is None) == (options.camera is None):
        raise ValueError("give a source or --camera N, one of the two")
    is_file = options.source is not None and Path(options.source).is_file()
    if options.draw is not None and not is_file:
        raise ValueError("--draw needs a file: of what is live, no picture is kept")
    stopped = threading.Event()
    before = signal.signal(signal.SIGINT, _ending(stopped))
    try:
        with arguments.connect(options.url) as client, _target(options.out) as target:
            show = FORMATS[options.format](target)
            summary: LiveSummary | None = None
            for message in client.live(_frames(options, stopped), **_choices(options)):
                show(message)
                target.flush()
                summary = message if isinstance(message, LiveSummary) else summary
    finally:
        signal.signal(signal.SIGINT, before)
    assert summary is not None  # the last message, else there was an error
    if options.save is not None:
        write_whole(options.save, json.dumps(dataclasses.asdict(summary.result), indent=1) + "\n")
    if options.draw is not None and options.source is not None:
        render(Path(options.source), summary.result, options.draw)
    return 0


def _frames(options: Options, stopped: threading.Event) -> Iterator[Picture] | Iterator[bytes]:
    if options.camera is not None:
        return capture.camera(options.camera, stopped)
    assert options.source is not None
    if options.source == capture.PIPE:
        return capture.pipe(sys.stdin.buffer, stopped)
    return capture.film(options.source, stopped, paced=not options.fast)


def _choices(options: Options) -> LiveChoices:
    given: dict[str, Any] = {
        "tasks": options.task,
        "segment_s": options.segment_s,
        "every": options.every,
        "forecast_every": options.forecast_every,
        "top_k": options.top_k,
        "rate": options.rate,
        "skip": False if options.fast else None,
    }
    return cast(LiveChoices, without_none(given))


def _ending(stopped: threading.Event) -> Any:
    """A handler of Ctrl-C: the first one ends the stream, the second one the program."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        print("ending; once more to leave at once", file=sys.stderr)

    return handle


@contextmanager
def _target(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8") as file:
        yield file
